"""Anthropic's Message Batches as an engine, against a local server of them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anthropic
import pytest

from tests.engines.test_openai_batches import QUICK, Even, Number, check_numbers, texts
from tests.servers.anthropic import KEY, message
from tests.servers.anthropic_batches import AnthropicBatchServer
from tests.servers.batches import Provider, running
from typedllm import LLM, EngineError, PromptTooLong, Sampling, UsageError
from typedllm.attempts import Policy

pytestmark = pytest.mark.slow

MODEL = "anthropic-batch:claude-sonnet-4-5"


def said(params: dict[str, Any]) -> str:
    return params["messages"][0]["content"]


def numbered(params: dict[str, Any]) -> dict[str, Any]:
    found = {"text": f"{said(params)}\u2028\u0085é", "number": int(said(params).split()[1])}
    return message(json.dumps(found, ensure_ascii=False))


@pytest.fixture
def server() -> Iterator[Provider]:
    with running(AnthropicBatchServer, Provider(numbered)) as provider:
        yield provider


def opened(server: Provider, attempts: int = 3, **options: Any) -> LLM:
    policy = Policy(attempts=attempts, min_wait_s=0.0, max_wait_s=0.0)
    given = {**QUICK, **options}
    return LLM(MODEL, base_url=server.url, api_key=KEY, policy=policy, engine_args=given)


def test_the_server_is_one_for_the_vendors_own_sdk(server: Provider):
    with anthropic.Anthropic(base_url=server.url, api_key=KEY) as client:
        params: Any = {"model": "m", "max_tokens": 9, "messages": []}
        params["messages"].append({"role": "user", "content": "Row 3"})
        batch = client.messages.batches.create(requests=[{"custom_id": "a", "params": params}])
        assert [each.id for each in client.messages.batches.list()] == [batch.id]
        assert client.messages.batches.retrieve(batch.id).processing_status == "ended"
        (found,) = client.messages.batches.results(batch.id)
        assert found.result.type == "succeeded"
        assert found.result.message.model_dump(mode="json", exclude_unset=True) == numbered(params)


def test_rows_form_jobs_and_keep_their_places(server: Provider):
    with opened(server, job_requests=128) as llm:
        results = llm.batch(texts(300), Number, system="Count.")
        check_numbers(results, 300)
    assert max(server.sent) <= 128
    assert sum(server.sent) == 300
    systems = [each["params"]["system"] for job in server.requests for each in job]
    assert all(system.startswith("Count.\n") for system in systems)
    assert results[0].usage.input_tokens == 7


def test_errors_are_those_of_their_rows(server: Provider):
    again = iter([529, 500])

    def answer(params: dict[str, Any]) -> Any:
        match said(params):
            case "Row 3":
                return 400
            case "Row 7":
                return next(again, None) or numbered(params)
            case _:
                return numbered(params)

    server.answer, server.leaves_out = answer, 9
    with opened(server) as llm:
        results = llm.batch(texts(10), Number)
    assert isinstance(results[3].error, UsageError)
    assert "anthropic-batch refuses the request: no (400)" in str(results[3].error)
    assert [result.attempts for result in results] == [1] * 7 + [3, 1, 2]
    assert [result.ok for result in results] == [number != 3 for number in range(10)]


def test_a_prompt_that_is_too_long_is_told_as_such(server: Provider):
    server.answer = lambda params: 413
    original = AnthropicBatchServer.said
    with pytest.MonkeyPatch.context() as context:
        told = {"type": "invalid_request_error", "message": "prompt is too long: 2 > 1"}
        context.setattr(
            AnthropicBatchServer,
            "said",
            lambda self, status: {**original(self, status), "error": told},
        )
        with opened(server) as llm:
            assert isinstance(llm.run("Row 1", Number).error, PromptTooLong)


def test_a_key_in_what_a_row_came_to_is_not_told(server: Provider, monkeypatch: Any):
    original = AnthropicBatchServer.said
    told = {"type": "invalid_request_error", "message": f"no ({KEY})"}
    monkeypatch.setattr(
        AnthropicBatchServer,
        "said",
        lambda self, status: {**original(self, status), "error": told},
    )
    server.answer = lambda params: 400
    with opened(server) as llm:
        result = llm.run("Row 1", Number)
    assert "no (***)" in str(result.error)
    assert KEY not in repr(result)


@pytest.mark.parametrize("ended", ["expired", "canceled"])
def test_what_a_job_did_not_come_to(server: Provider, ended: str):
    server.ends[0] = ended
    with opened(server) as llm:
        results = llm.batch(texts(10), Number)
    if ended == "expired":
        check_numbers(results, 10)
        assert server.sent == [10, 5]
    else:
        assert [result.ok for result in results] == [True, False] * 5
        assert isinstance(results[1].error, EngineError)
        assert "cancelled" in str(results[1].error)
        assert server.sent == [10]


def test_repairs_form_the_next_job_with_what_was_wrong(server: Provider):
    def answer(params: dict[str, Any]) -> Any:
        number = int(said(params).split()[1])
        repaired = "has to be even" in json.dumps(params["messages"][-1])
        return message(json.dumps({"number": number + (number % 2) * repaired}))

    server.answer = answer
    with opened(server) as llm:
        results = llm.batch(texts(10), Even)
    assert [result.unwrap().number for result in results] == [0, 2, 2, 4, 4, 6, 6, 8, 8, 10]
    assert server.sent == [10, 5]


@pytest.mark.parametrize("status", [429, 500, 0])
def test_faults_while_it_is_followed_pass(server: Provider, status: int):
    server.faults = {("GET", "/v1/messages/batches/"): [status] * 7}
    with opened(server, attempts=1) as llm:
        check_numbers(llm.batch(texts(5), Number), 5)
    assert server.sent == [5]


def test_answers_are_read_again_where_reading_broke_off(server: Provider):
    with opened(server, attempts=1) as llm:
        llm.batch(texts(1), Number)
        server.faults = {("GET", "/v1/messages/batches/msgbatch_1/results"): [-1, -1]}
        results = llm.batch([f"Row {number}" for number in range(1, 100)], Number)
    assert [result.unwrap().number for result in results] == list(range(1, 100))
    assert server.sent == [1, 99]


@pytest.mark.parametrize("arrives", [True, False])
def test_a_job_of_which_nothing_came_back_is_looked_for(server: Provider, arrives: bool):
    with opened(server) as llm:
        for count in (4, 1, 2):  # of others, one of the same size
            llm.batch(texts(count), Number)
    server.faults, server.lets_in = {("POST", "/v1/messages/batches"): [0]}, arrives
    with opened(server) as llm:
        results = llm.batch(texts(4), Number)
        check_numbers(results, 4)
    assert server.sent == [4, 1, 2, 4]
    assert {result.attempts for result in results} == {1 if arrives else 2}


def test_jobs_are_found_again(server: Provider, tmp_path: Path):
    path = tmp_path / "jobs.db"
    with opened(server, jobs=path) as llm:
        check_numbers(llm.batch(texts(5), Number), 5)
    with opened(server, jobs=path) as llm:
        check_numbers(llm.batch(texts(5), Number), 5)
    assert server.sent == [5]
    server.jobs["msgbatch_0"]["archived_at"] = server.jobs["msgbatch_0"]["created_at"]
    with opened(server, jobs=path) as llm:
        check_numbers(llm.batch(texts(5), Number), 5)
    assert server.sent == [5, 5]


def test_a_callers_own_client_is_used(server: Provider):
    client = anthropic.AsyncAnthropic(base_url=server.url, api_key=KEY)
    with LLM(MODEL, engine_args={"client": client, **QUICK}) as llm:
        check_numbers(llm.batch(texts(3), Number), 3)
    with pytest.raises(UsageError, match="expected an anthropic"):
        LLM(MODEL, engine_args={"client": anthropic.Anthropic(api_key="x")})
    with pytest.raises(UsageError, match="client= has its own api_key"):
        LLM(MODEL, api_key="x", engine_args={"client": client})


def test_a_wrong_key_is_told_without_it(server: Provider):
    policy = Policy(attempts=1)
    with LLM(
        MODEL, base_url=server.url, api_key="sk-wrong", policy=policy, engine_args=QUICK
    ) as llm:
        error = llm.run("Row 1", Number).error
    assert isinstance(error, EngineError)
    assert error.status == 401
    assert "sk-wrong" not in str(error)


def test_what_the_api_does_not_take_is_told(server: Provider):
    with opened(server) as llm:
        error = llm.run("Row 1", Number, sampling=Sampling(extra={"betas": ["x"]})).error
    assert isinstance(error, UsageError)
    assert server.sent == []
