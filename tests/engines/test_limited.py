"""Engines behind a quota: real servers that tell it, threads that share it, batches that wait."""

from __future__ import annotations

import asyncio
import http.server
import json
import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar

import openai
import pytest

from tests.engines.metered import Metered, in_no_time, now, request_of
from tests.servers.anthropic import KEY, AnthropicServer, error, message
from tests.servers.canned import Refusal, running
from typedllm import LLM
from typedllm.attempts import Policy
from typedllm.engines.limited import Limited
from typedllm.engines.quota import Quota, RateLimit, Turn
from typedllm.engines.quotas import quota_of
from typedllm.engines.scripted import Scripted
from typedllm.engines.table import open_engine
from typedllm.errors import DeadlineExceeded, EngineError
from typedllm.records import Completion, Failure, Request

SPENT = {
    "x-ratelimit-limit-requests": "60",
    "x-ratelimit-remaining-requests": "0",
    "x-ratelimit-reset-requests": "60s",
}


class Telling(http.server.BaseHTTPRequestHandler):
    """Answers as OpenAI's API does, with headers of its quota."""

    protocol_version = "HTTP/1.1"
    status: ClassVar[int] = 200

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        kind = "text/event-stream" if body.get("stream") else "application/json"
        usage = {"prompt_tokens": 10, "completion_tokens": 5}
        said: dict[str, Any] = {"role": "assistant", "content": "yes"}
        if self.status != 200:
            text = json.dumps({"error": {"message": "slow down"}})
        elif body.get("stream"):
            choice = {"index": 0, "delta": said, "finish_reason": "stop"}
            text = f"data: {json.dumps({'choices': [choice], 'usage': usage})}\n\ndata: [DONE]\n\n"
        else:
            choice = {"index": 0, "message": said, "finish_reason": "stop"}
            text = json.dumps({"choices": [choice], "usage": usage})
        self.send_response(self.status)
        for name, value in SPENT.items():
            self.send_header(name, value)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def url() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Telling) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/v1"
        server.shutdown()


def may_go(quota: Quota) -> bool:
    return quota.goes_at_once(Turn(4, 1))


def asked(**more: Any) -> Request:
    return Request(prompt=request_of("Ready?").prompt, **more)


@pytest.mark.parametrize("way", ["own", "sync", "async", "streamed", "refused"])
async def test_a_server_of_openais_protocol_tells_its_quota(
    url: str, way: str, monkeypatch: pytest.MonkeyPatch
):
    options: dict[str, Any] = {"base_url": url, "api_key": "x"}
    if way in ("sync", "async"):
        kind = openai.OpenAI if way == "sync" else openai.AsyncOpenAI
        options = {"client": kind(base_url=url, api_key="x")}
    monkeypatch.setattr(Telling, "status", 429 if way == "refused" else 200)
    quota = Quota()
    limited = Limited(open_engine("openai:m", options), quota)
    heard: list[str] = []
    reply = await limited.send(asked(tell=heard.append) if way == "streamed" else asked())
    await limited.close()
    assert isinstance(reply, Failure if way == "refused" else Completion)
    assert "".join(heard) == ("yes" if way == "streamed" else "")
    assert not may_go(quota)


@pytest.mark.parametrize("status", [429, 529])
async def test_anthropic_tells_its_quota(status: int):
    headers = {
        f"anthropic-ratelimit-input-tokens-{what}": value
        for what, value in (("limit", "60"), ("remaining", "0"))
    }
    with running(AnthropicServer) as (url, server):
        kind = "rate_limit_error" if status == 429 else "overloaded_error"
        server.answers[:] = [message("yes"), Refusal(status, error(kind, "slow"), headers)]
        quota = Quota()
        engine = open_engine("anthropic:claude", {"base_url": url, "api_key": KEY})
        limited = Limited(engine, quota)
        assert isinstance(await limited.send(asked()), Completion)
        assert may_go(quota)
        assert isinstance(await limited.send(asked()), Failure)
        await limited.close()
    assert not may_go(quota)


@pytest.mark.parametrize(
    ("status", "retry_after_s", "cools"),
    [(429, None, False), (429, 3.0, True), (503, 3.0, True), (503, None, False), (500, 3.0, False)],
)
def test_what_cools_down(status: int, retry_after_s: float | None, cools: bool):
    failed = EngineError("no", retryable=True, status=status, retry_after_s=retry_after_s)

    async def main() -> float:
        engine = Scripted([failed, "yes", "yes"])
        limited = Limited(engine, Quota(clock=now))
        assert isinstance(await limited.send(asked()), Failure)
        await asyncio.gather(limited.send(asked()), limited.send(asked()))
        return now()

    assert in_no_time(main()) == pytest.approx(retry_after_s if cools else 0)


def test_no_more_are_on_their_way_than_may_be_and_more_may_wait():
    service = Metered(requests=1e9, tokens=1e9, tells=False)
    limited = Limited(service, Quota(in_flight=5, clock=now))
    assert limited.capacity == 5

    async def main() -> float:
        await asyncio.gather(*(limited.send(request_of(number)) for number in range(20)))
        return now()

    assert in_no_time(main()) == pytest.approx(4)
    assert service.most_on_way == 5


def test_a_row_that_waits_for_another_attempt_holds_up_no_other():
    """Two may be on their way, and three rows wait: the others go on all the same."""
    times: dict[str, int] = {}
    ended: list[str] = []

    def reply(request: Request) -> object:
        text = request.prompt[-1].text
        times[text] = times.get(text, 0) + 1
        if text in "012" and times[text] == 1:
            return EngineError("busy", retryable=True, status=500, retry_after_s=0.3)
        ended.append(text)
        return "yes"

    with LLM(Limited(Scripted(reply), Quota(in_flight=2)), policy=Policy(attempts=2)) as llm:
        results = llm.batch([str(number) for number in range(10)], None)
    assert [result.value for result in results] == ["yes"] * 10
    assert sorted(ended[-3:]) == ["0", "1", "2"]


def test_waiting_counts_against_the_deadline_and_gives_the_place_back():
    quota = Quota(RateLimit(requests_per_minute=1))
    with LLM(Limited(Scripted(["yes", "yes"]), quota)) as llm:
        assert llm.call("a", None) == "yes"
        found = llm.run("b", None, timeout_s=0.05)
        assert isinstance(found.error, DeadlineExceeded)
        quota.limit(RateLimit())
        assert llm.call("c", None) == "yes"


def test_threads_with_event_loops_of_their_own_share_a_quota():
    lock, on_way, most = threading.Lock(), 0, 0

    async def reply(request: Request) -> object:
        nonlocal on_way, most
        with lock:
            on_way += 1
            most = max(most, on_way)
        await asyncio.sleep(0.001)
        with lock:
            on_way -= 1
        return "yes"

    quota = quota_of("http://shared", "m", None, RateLimit(in_flight=2))

    def run(_: int) -> int:
        async def main() -> int:
            limited = Limited(Scripted(reply), quota)
            replies = await asyncio.gather(*(limited.send(asked()) for _ in range(40)))
            return sum(isinstance(each, Completion) for each in replies)

        return asyncio.run(main())

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(run, range(4))) == 160
    assert most == 2


def test_who_waited_in_an_event_loop_that_ended_holds_up_nobody():
    quota = Quota(in_flight=1)
    turn = Turn(0, 1)
    assert quota.goes_at_once(turn)
    limited = Limited(Scripted(["yes", "yes"]), quota)
    loop = asyncio.new_event_loop()
    forgotten = loop.create_task(limited.send(asked()))
    loop.run_until_complete(asyncio.sleep(0))
    loop.set_exception_handler(lambda loop, context: None)  # which would say so
    loop.close()
    quota.answered(turn, None)
    assert isinstance(asyncio.run(limited.send(asked())), Completion)
    forgotten.get_coro().close()  # pyright: ignore[reportOptionalMemberAccess]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_begins_with_nothing_on_its_way():
    quota = quota_of("http://forked", "m", None, RateLimit(in_flight=1))
    assert may_go(quota)
    assert not may_go(quota)
    child = os.fork()
    if child == 0:
        os._exit(0 if may_go(quota) else 1)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert not may_go(quota)
