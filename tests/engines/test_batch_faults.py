"""Batch APIs whose servers refuse, break or reset calls: each row has a value, and runs once."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import pytest
from typing_extensions import override

from tests.engines import test_anthropic_batches as anthropic_tests
from tests.engines import test_openai_batches as openai_tests
from tests.engines.test_openai_batches import QUICK, Number, check_numbers, texts
from tests.servers import anthropic as anthropic_server
from tests.servers.anthropic_batches import AnthropicBatchServer
from tests.servers.batches import BatchServer, Provider, running
from tests.servers.openai_batches import KEY, OpenAIBatchServer
from typedllm import LLM, EngineError
from typedllm.attempts import Policy

pytestmark = pytest.mark.slow

RESET: Final = -2  # while the body is on its way
HALF: Final = -1  # in the middle of the answer
GONE: Final = 0  # in place of an answer


class Resetting(BatchServer):
    """Resets the connection too, before it has read what is sent."""

    @override
    def handled(self, method: str) -> None:
        for (of_method, start), faults in self.provider.faults.items():
            if method == of_method and self.path.startswith(start) and faults[:1] == [RESET]:
                faults.pop(0)
                self.provider.calls.append((method, self.path))
                self.rfile.read(method == "POST")  # a byte of the body
                at_once = struct.pack("ii", 1, 0)
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, at_once)
                self.rfile.close()
                self.connection.close()
                self.close_connection = True
                return
        super().handled(method)

    @override
    def finish(self) -> None:
        if self.connection.fileno() >= 0:
            super().finish()


class OpenAI(Resetting, OpenAIBatchServer):
    """OpenAI's."""


class Anthropic(Resetting, AnthropicBatchServer):
    """Anthropic's."""


@dataclass(frozen=True)
class Service:
    """A batch API, and the calls that a job takes."""

    model: str
    key: str
    kind: type[BatchServer]
    answer: Any
    prefix: str
    calls: dict[str, tuple[str, str]]


SERVICES: Final = {
    "openai": Service(
        model="openai-batch:gpt-5",
        key=KEY,
        kind=OpenAI,
        answer=openai_tests.numbered,
        prefix="/v1",
        calls={
            "uploading": ("POST", "/v1/files"),
            "making": ("POST", "/v1/batches"),
            "polling": ("GET", "/v1/batches/"),
            "downloading": ("GET", "/v1/files/"),
        },
    ),
    "anthropic": Service(
        model=anthropic_tests.MODEL,
        key=anthropic_server.KEY,
        kind=Anthropic,
        answer=anthropic_tests.numbered,
        prefix="",
        calls={
            "uploading": ("POST", "/v1/messages/batches"),
            "polling": ("GET", "/v1/messages/batches/msgbatch_0"),
            "downloading": ("GET", "/v1/messages/batches/msgbatch_0/results"),
        },
    ),
}
CALLS: Final = [(name, call) for name, service in SERVICES.items() for call in service.calls]


@pytest.fixture
def server(request: pytest.FixtureRequest) -> Iterator[Provider]:
    service = SERVICES[request.getfixturevalue("name")]
    with running(service.kind, Provider(service.answer), service.prefix) as provider:
        yield provider


def opened(server: Provider, name: str, attempts: int = 4) -> LLM:
    service = SERVICES[name]
    return LLM(
        service.model,
        base_url=server.url,
        api_key=service.key,
        policy=Policy(attempts=attempts, min_wait_s=0.0, max_wait_s=0.0),
        engine_args=QUICK,
    )


@pytest.mark.parametrize("fault", [429, 500, GONE, HALF, RESET])
@pytest.mark.parametrize(("name", "call"), CALLS)
def test_a_fault_of_any_call_passes_and_no_job_runs_twice(
    server: Provider, name: str, call: str, fault: int
):
    server.faults = {SERVICES[name].calls[call]: [fault, fault]}
    with opened(server, name) as llm:
        check_numbers(llm.batch(texts(5), Number, timeout_s=20), 5)
    assert server.sent == [5]


@pytest.mark.parametrize("name", SERVICES)
def test_a_connection_that_is_reset_while_much_is_sent(server: Provider, name: str):
    server.faults = {SERVICES[name].calls["uploading"]: [RESET, RESET]}
    rows = [f"{row} {'much ' * 100_000}" for row in texts(10)]  # more than sockets hold
    with opened(server, name) as llm:
        results = llm.batch(rows, Number, timeout_s=20)
    assert [result.unwrap().number for result in results] == list(range(10))
    assert server.sent == [10]


@pytest.mark.parametrize("fault", [429, 500, GONE])
@pytest.mark.parametrize("name", SERVICES)
def test_a_job_that_arrived_is_found_when_looking_for_it_fails_too(
    server: Provider, name: str, fault: int
):
    method, path = list(SERVICES[name].calls.values())[-3 if name == "openai" else 0]
    server.lets_in = True
    server.faults = {(method, path): [GONE], ("GET", f"{path}?"): [fault, fault]}
    with opened(server, name) as llm:
        check_numbers(llm.batch(texts(5), Number, timeout_s=20), 5)
    assert server.sent == [5]


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_that_stays_down_is_an_error_of_each_row(server: Provider, name: str):
    server.faults = {SERVICES[name].calls["uploading"]: [503] * 99}
    with opened(server, name, attempts=2) as llm:
        results = llm.batch(texts(3), Number, timeout_s=20)
    assert {type(result.error) for result in results} == {EngineError}
    assert all("HTTP 503" in str(result.error) for result in results)
    assert {result.attempts for result in results} == {2}
    assert server.sent == []
