"""OpenAI's Batch API as an engine, against a local server of it."""

from __future__ import annotations

import asyncio
import io
import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from pydantic import BaseModel, field_validator

from tests.engines.contract import ask, error_of
from tests.servers.batches import Provider, running
from tests.servers.chaos import completion
from tests.servers.openai_batches import KEY, OpenAIBatchServer
from typedllm import LLM, EngineError, UsageError
from typedllm.attempts import Policy
from typedllm.engines.table import open_engine
from typedllm.errors import TypedLLMError
from typedllm.records import Completion, Message, Request, Segment

pytestmark = pytest.mark.slow

QUICK: dict[str, Any] = {"quiet_s": 0.05, "poll_s": 0.01}


class Number(BaseModel):
    """An answer that says which question it is to."""

    text: str
    number: int


def said(body: dict[str, Any]) -> str:
    return next(each["content"] for each in body["messages"] if each["role"] == "user")


def numbered(body: dict[str, Any]) -> dict[str, Any]:
    """Answer `Row 7` with 7, and a text that HTTP clients take for several lines."""
    found = {"text": f"{said(body)}\u2028\u0085é", "number": int(said(body).split()[1])}
    return completion(json.dumps(found, ensure_ascii=False))


@pytest.fixture
def server() -> Iterator[Provider]:
    with running(OpenAIBatchServer, Provider(numbered), "/v1") as provider:
        yield provider


def opened(server: Provider, attempts: int = 3, **options: Any) -> LLM:
    policy = Policy(attempts=attempts, min_wait_s=0.0, max_wait_s=0.0)
    return LLM(
        "openai-batch:gpt-5",
        base_url=server.url,
        api_key=KEY,
        policy=policy,
        engine_args={**QUICK, **options},
    )


def texts(count: int) -> list[str]:
    return [f"Row {number}" for number in range(count)]


def check_numbers(results: Any, count: int) -> None:
    assert [result.unwrap().number for result in results] == list(range(count))
    assert {result.value.text[-3:] for result in results} == {"\u2028\u0085é"}


def chat(text: str) -> Request:
    return Request(prompt=(Message(role="user", content=(Segment(text=text),)),))


def test_the_server_is_one_for_the_vendors_own_sdk(server: Provider):
    with openai.OpenAI(base_url=server.url, api_key=KEY) as client:
        body = {"model": "m", "messages": [{"role": "user", "content": "Row 3"}]}
        line = {"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", "body": body}
        lines = io.BytesIO(json.dumps(line).encode() + b"\n")
        file = client.files.create(file=("in.jsonl", lines), purpose="batch")
        batch = client.batches.create(
            input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h"
        )
        assert [each.id for each in client.batches.list()] == [batch.id]
        ended = client.batches.retrieve(batch.id)
        assert ended.status == "completed"
        assert ended.output_file_id
        answer = json.loads(client.files.content(ended.output_file_id).content)
        assert answer["response"]["body"] == numbered(body)


def test_rows_form_jobs_and_keep_their_places(server: Provider):
    with opened(server, job_requests=128) as llm:
        results = llm.batch(texts(300), Number)
        check_numbers(results, 300)
    assert max(server.sent) <= 128
    assert sum(server.sent) == 300
    assert {result.attempts for result in results} == {1}
    assert results[0].usage.input_tokens == 7


async def test_a_job_is_handed_in_when_it_is_full(server: Provider):
    for options, sent in (({"job_requests": 4}, [2, 4, 4]), ({"job_bytes": 1200}, None)):
        server.requests.clear()
        server.jobs.clear()
        given = {"base_url": server.url, "api_key": KEY, **QUICK, **options}
        engine = open_engine("openai-batch:gpt-5", given)
        await asyncio.gather(*(engine.send(chat(f"Row {n}")) for n in range(10)))
        assert sent is None or sorted(server.sent) == sent
        assert 1 < len(server.sent) <= 4
        error = await error_of(engine, chat("long " * 2000)) if sent is None else None
        assert error is None or "more than a job may have, 1,200" in str(error)
        await engine.close()


async def test_a_full_job_waits_for_nobody(server: Provider):
    given = {"base_url": server.url, "api_key": KEY, "quiet_s": 60.0, "job_requests": 4}
    engine = open_engine("openai-batch:gpt-5", given)
    found = await asyncio.gather(*(engine.send(chat(f"Row {n}")) for n in range(4)))
    assert all(isinstance(each, Completion) for each in found)
    await engine.close()


async def test_raw_text_has_a_job_of_its_own(server: Provider):
    server.answer = lambda body: (
        {
            **completion(None),
            "choices": [{"index": 0, "text": f"{body['prompt']}!", "finish_reason": "stop"}],
        }
        if "prompt" in body
        else numbered(body)
    )
    engine = open_engine("openai-batch:m", {"base_url": server.url, "api_key": KEY, **QUICK})
    both = await asyncio.gather(engine.send(ask("Well")), engine.send(chat("Row 1")))
    assert all(isinstance(each, Completion) for each in both)
    assert {each["endpoint"] for each in server.jobs.values()} == {
        "/v1/completions",
        "/v1/chat/completions",
    }
    await engine.close()


def test_a_row_that_is_left_out_is_asked_again(server: Provider):
    server.leaves_out = 5
    with opened(server) as llm:
        results = llm.batch(texts(20), Number)
        check_numbers(results, 20)
    assert server.sent == [20, 1]
    assert [result.attempts for result in results] == [1] * 5 + [2] + [1] * 14


def test_errors_are_those_of_their_rows(server: Provider):
    again = iter([429, 500])

    def answer(body: dict[str, Any]) -> Any:
        match said(body):
            case "Row 3":
                return 400
            case "Row 7":
                return next(again, None) or numbered(body)
            case _:
                return numbered(body)

    server.answer = answer
    with opened(server) as llm:
        results = llm.batch(texts(10), Number)
    assert isinstance(results[3].error, UsageError)
    assert "openai-batch refuses the request: no (400)" in str(results[3].error)
    assert results[7].attempts == 3
    assert [result.ok for result in results] == [number != 3 for number in range(10)]


def test_a_key_in_what_a_job_came_to_is_not_told(server: Provider, monkeypatch: Any):
    told = {"error": {"message": f"no ({KEY})", "type": "error", "code": None}}
    monkeypatch.setattr(OpenAIBatchServer, "said", lambda self, status: told)
    monkeypatch.setattr(
        OpenAIBatchServer,
        "wrong",
        lambda self, request, endpoint: KEY * ("is refused" in json.dumps(request["body"])),
    )
    server.answer = lambda body: 400
    with opened(server) as llm:
        results = llm.batch(["Row 1", "Row 2 is refused"], Number)
    assert ["no (***)" in str(results[0].error), "line 2: ***" in str(results[1].error)] == [
        True
    ] * 2
    assert all(KEY not in repr(result) for result in results)


def test_a_refused_file_names_its_row_and_the_others_go_on(server: Provider):
    with opened(server) as llm:
        results = llm.batch([*texts(6), "Row 6 is refused"], Number)
    check_numbers(results[:6], 6)
    assert "line 7: is refused" in str(results[6].error)
    assert server.sent == [7, 6]


@pytest.mark.parametrize("ended", ["expired", "failed"])
def test_what_a_job_did_not_come_to_is_asked_again(server: Provider, ended: str):
    server.ends[0] = ended
    with opened(server) as llm:
        check_numbers(llm.batch(texts(10), Number), 10)
    assert server.sent == [10, 5 if ended == "expired" else 10]


def test_a_job_that_somebody_cancelled_is_not_asked_again(server: Provider):
    server.ends[0] = "cancelled"
    with opened(server) as llm:
        results = llm.batch(texts(10), Number)
    assert [result.ok for result in results] == [True, False] * 5
    assert isinstance(results[1].error, EngineError)
    assert not results[1].error.retryable
    assert server.sent == [10]


class Even(BaseModel):
    number: int

    @field_validator("number")
    @classmethod
    def is_even(cls, number: int) -> int:
        if number % 2:
            raise ValueError("has to be even")
        return number


def test_repairs_form_the_next_job_with_what_was_wrong(server: Provider):
    def answer(body: dict[str, Any]) -> Any:
        number = int(said(body).split()[1])
        repaired = "has to be even" in json.dumps(body["messages"][-1])
        return completion(json.dumps({"number": number + (number % 2) * repaired}))

    server.answer = answer
    with opened(server) as llm:
        results = llm.batch(texts(10), Even)
    assert [result.unwrap().number for result in results] == [0, 2, 2, 4, 4, 6, 6, 8, 8, 10]
    assert server.sent == [10, 5]


@pytest.mark.parametrize("status", [429, 500, 0])
def test_faults_while_it_is_followed_pass(server: Provider, status: int):
    server.faults = {("GET", "/v1/batches/"): [status] * 5, ("GET", "/v1/files/"): [status] * 2}
    with opened(server, attempts=1) as llm:
        check_numbers(llm.batch(texts(5), Number), 5)
    assert server.sent == [5]


def test_answers_are_read_again_where_reading_broke_off(server: Provider):
    server.faults = {("GET", "/v1/files/"): [-1, -1]}
    with opened(server, attempts=1) as llm:
        check_numbers(llm.batch(texts(100), Number), 100)
    assert server.sent == [100]


@pytest.mark.parametrize("arrives", [True, False])
def test_a_job_of_which_nothing_came_back_is_looked_for(server: Provider, arrives: bool):
    with opened(server) as llm:
        for number in range(3):  # of others, on two pages
            llm.call(f"Row {number}", Number)
    server.faults, server.lets_in = {("POST", "/v1/batches"): [0]}, arrives
    with opened(server) as llm:
        results = llm.batch(texts(4), Number)
        check_numbers(results, 4)
    assert server.sent == [1] * 3 + [4]
    assert {result.attempts for result in results} == {1 if arrives else 2}


def test_a_server_that_refuses_is_an_error_of_each_row(server: Provider):
    with opened(server) as llm:
        for faults in ({("POST", "/v1/files"): [401]}, {("GET", "/v1/batches/"): [401]}):
            server.faults = faults
            results = llm.batch(texts(3), Number)
            assert all("HTTP 401" in str(result.error) for result in results)
        check_numbers(llm.batch(texts(3), Number), 3)
    assert server.sent == [3]  # which was found again


async def test_who_gives_up_leaves_it_in_the_job(server: Provider):
    server.held = True
    engine = open_engine("openai-batch:m", {"base_url": server.url, "api_key": KEY, **QUICK})
    early = asyncio.ensure_future(engine.send(chat("Row 9")))
    sending = [asyncio.ensure_future(engine.send(chat("Row 1"))) for _ in range(3)]
    await asyncio.sleep(0)
    early.cancel()  # before it was handed in
    while not server.jobs:
        await asyncio.sleep(0.01)
    sending[1].cancel()
    await asyncio.wait([early, sending[1]])
    again = asyncio.ensure_future(engine.send(chat("Row 1")))
    await asyncio.sleep(0.1)
    server.held = False
    found = await asyncio.gather(sending[0], sending[2], again)
    assert all(isinstance(each, Completion) for each in found)
    assert server.sent == [3]
    await engine.close()


async def test_closing_tells_those_who_wait(server: Provider):
    server.held = True
    engine = open_engine("openai-batch:m", {"base_url": server.url, "api_key": KEY, **QUICK})
    sending = asyncio.ensure_future(engine.send(chat("Row 1")))
    while not server.jobs:
        await asyncio.sleep(0.01)
    await engine.close()
    assert "was closed" in str((await sending).error)  # type: ignore
    assert "make a new one" in str(await error_of(engine, chat("Row 1")))


def test_a_callers_own_client_is_used(server: Provider):
    for kind in (openai.OpenAI, openai.AsyncOpenAI):
        client = kind(base_url=server.url, api_key=KEY)
        with LLM("openai-batch:m", engine_args={"client": client, **QUICK}) as llm:
            check_numbers(llm.batch(texts(3), Number), 3)


CHILD = """
import sys
from typedllm import LLM

url, key, jobs = sys.argv[1:]
options = {"jobs": jobs, "quiet_s": 0.05, "poll_s": 0.01, "job_requests": 40}
with LLM("openai-batch:gpt-5", base_url=url, api_key=key, engine_args=options) as llm:
    rows = llm.batch([f"Row {number}" for number in range(60)], {"text": "str", "number": "int"})
    print([row.unwrap()["number"] for row in rows], flush=True)
"""


def child(server: Provider, path: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", CHILD, server.url, KEY, str(path)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


@pytest.mark.slow
def test_a_killed_process_finds_its_jobs_again(server: Provider, tmp_path: Path):
    server.held = True
    path = tmp_path / "jobs.db"
    killed = child(server, path)
    deadline = time.monotonic() + 30
    while not any("/batches/" in called for _, called in server.calls):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    assert server.sent == [40]
    server.held = False
    for _ in range(2):  # the second one reads the answers of ended jobs
        out, _ = child(server, path).communicate(timeout=30)
        assert json.loads(out) == list(range(60))
    assert sum(server.sent) == 60


@pytest.mark.slow
@pytest.mark.parametrize("arrives", [True, False])
def test_a_process_killed_while_handing_in_sends_nothing_twice(
    server: Provider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arrives: bool
):
    path = tmp_path / "jobs.db"
    original = OpenAIBatchServer.made

    def made(self: Any, given: dict[str, Any]) -> Any:
        found = original(self, given) if arrives else 500
        process.send_signal(signal.SIGKILL)  # before it hears of it
        process.wait()
        return found

    process = child(server, path)
    with monkeypatch.context() as context:
        context.setattr(OpenAIBatchServer, "made", made)
        process.communicate(timeout=30)
    out, _ = child(server, path).communicate(timeout=30)
    assert json.loads(out) == list(range(60))
    assert sum(server.sent) == 60


def test_answers_are_those_of_the_earlier_process(server: Provider, tmp_path: Path):
    """Equal requests in their order, and what failed anew."""
    numbers = iter(range(100))
    server.answer = lambda body: completion(json.dumps({"text": "", "number": next(numbers)}))
    server.leaves_out = 3
    path = tmp_path / "jobs.db"
    for _ in range(2):
        with opened(server, attempts=1, jobs=path) as llm:
            results = llm.batch(["the same"] * 6, Number)
            assert [result.ok for result in results].count(False) == (server.sent == [6])
    assert sorted(result.unwrap().number for result in results) == list(range(6))
    assert server.sent == [6, 1]


def test_a_job_that_is_gone_is_asked_anew(server: Provider, tmp_path: Path):
    path = tmp_path / "jobs.db"
    for _ in range(2):
        with opened(server, jobs=path) as llm:
            check_numbers(llm.batch(texts(5), Number), 5)
        server.jobs = {f"{name}_of_others": job for name, job in server.jobs.items()}
    assert server.sent == [5, 5]


def test_options_are_checked(server: Provider, tmp_path: Path):
    for options, told in (
        ({"job_requests": 0}, "job_requests: expected a whole number from 1"),
        ({"job_requests": 50_001}, "more than the provider takes, 50,000"),
        ({"poll_s": 0}, "poll_s: expected a number above 0"),
        ({"jobs": tmp_path / "no" / "jobs.db"}, "cannot be used: unable to open"),
        ({"client": openai.OpenAI(api_key="x")}, "client= says where"),
    ):
        with pytest.raises(UsageError, match=told):
            opened(server, **options)
    with pytest.raises(UsageError, match="no model"):
        LLM("openai-batch", api_key="x")
    with pytest.raises(TypedLLMError, match="OPENAI_API_KEY"):
        LLM("openai-batch:m")


def test_what_is_no_answer_is_told_and_asked_anew_later(server: Provider, tmp_path: Path):
    path = tmp_path / "jobs.db"
    server.answer = lambda body: {"no": "choices"}
    with opened(server, jobs=path) as llm:
        result = llm.run("Row 0", Number)
    assert "openai-batch is no answer of OpenAI's protocol" in str(result.error)
    server.answer = numbered
    with opened(server, jobs=path) as llm:
        check_numbers(llm.batch(["Row 0"], Number), 1)
    assert server.sent == [1, 1]
