"""vLLM servers over HTTP: one at its defaults, one of `typedllm start-server`."""

from __future__ import annotations

import asyncio
import http.server
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Literal, cast

import psutil
import pytest

from tests.engines.contract import COLOUR, ORDER, EngineContract, MakeEngine, ask, complete
from tests.processes import left_of
from tests.vllm.conftest import TINY
from typedllm import LLM, EngineError, Lark, PromptTooLong, Sampling, UnsupportedConstraint
from typedllm.engines.base import Engine
from typedllm.engines.server_commands import server_command
from typedllm.engines.servers import Server, start_server
from typedllm.engines.table import open_engine
from typedllm.errors import UsageError
from typedllm.records import Completion, Failure, Message, Request, Segment
from typedllm.records import Sampling as Choosing

pytestmark = pytest.mark.slow
ARGUMENTS = ["--dtype", "float32", "--max-num-seqs", "128"]
FIVE = Literal["card", "cash", "transfer", "fees", "account"]
STORY = {"title": "str", "tags": "list[str]", "pages": "int(ge=1, le=999)"}


@pytest.fixture(scope="session")
def uncalibrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The packaged model without its fitted temperature, which a server does not know."""
    folder = tmp_path_factory.mktemp("tiny")
    shutil.copytree(TINY, folder, dirs_exist_ok=True)
    (folder / "calibration.json").unlink()
    return folder


def check_five(llm: LLM, uncalibrated: Path) -> None:
    text = "My card was swallowed by the machine, who pays for that?"
    found = llm.classify(text, FIVE).distribution()
    with LLM(f"embedded:{uncalibrated}") as other:
        assert other.classify(text, FIVE).distribution() == pytest.approx(found, abs=1e-2)


def chat(request: Request) -> Request:
    """The same, as a message."""
    segments = cast("tuple[Segment, ...]", request.prompt)
    return replace(request, prompt=(Message(role="user", content=segments),))


async def check_streams(engine: Engine, *requests: Request) -> list[Completion]:
    """Compare streamed answers with those that are not, piece by piece."""
    found: list[Completion] = []
    for request in requests:
        pieces: list[str] = []
        (plain,) = await complete(engine, request)
        (told,) = await complete(engine, replace(request, tell=pieces.append))
        assert "".join(pieces) == told.text
        for name in ("text", "finish_reason", "usage", "landed_at", "reasoning"):
            assert getattr(told, name) == getattr(plain, name)
        assert [each.text for each in told.tokens or ()] == [
            each.text for each in plain.tokens or ()
        ]
        assert told.tokens
        found.append(told)
    return found


class TestDefaultServer(EngineContract):
    @pytest.fixture(scope="class")
    @classmethod
    def server(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
        log = tmp_path_factory.mktemp("server") / "log"
        command = server_command(str(TINY), guided=False, extra=ARGUMENTS)
        with start_server(command, log=log) as server:
            yield server

    @pytest.fixture
    def make_engine(self, server: Server) -> MakeEngine:
        return lambda: open_engine(f"vllm-server:{server.model}", {"base_url": server.url})

    @pytest.fixture
    def llm(self, server: Server) -> Iterator[LLM]:
        with LLM("vllm-server:", base_url=server.url) as llm:
            yield llm

    def test_what_is_cut_is_asked_once_more_and_ends(self, llm: LLM):
        texts = [f"Tell me the story of {n} dragons" for n in range(60)]
        hot = Sampling(temperature=2.0, max_tokens=44)
        results = llm.batch(texts, STORY, sampling=hot)
        assert all(result.ok for result in results), [r.error for r in results if not r.ok]
        assert {result.attempts for result in results} == {1, 2}
        again = next(result for result in results if result.attempts == 2)
        assert again.usage.output_tokens > 44

    async def test_confidence_and_tokens_are_told(self, make_engine: MakeEngine):
        (found,) = await complete(make_engine(), ask("Colour?", COLOUR))
        assert found.tokens
        assert b"".join(token.text for token in found.tokens).decode() == found.text
        assert found.usage.output_tokens == len(found.tokens)

    async def test_a_stream_is_the_answer_that_is_not_streamed(self, make_engine: MakeEngine):
        engine = make_engine()
        await check_streams(engine, chat(ask("Colour?", COLOUR)), ask("Colour?", COLOUR))
        short = Choosing(max_tokens=20)
        await check_streams(engine, chat(ask("Order 7", ORDER, short)), ask("Order 7", ORDER))
        await check_streams(engine, chat(ask("Hello", None, short)), ask("Hello", None, short))

    async def test_raw_text_is_completed(self, make_engine: MakeEngine):
        engine = make_engine()
        found = await complete(engine, *(ask(f"Order {n}", ORDER) for n in range(20)))
        assert all(list(json.loads(each.text)) == ["note", "tags", "paid"] for each in found)
        (plain,) = await complete(engine, ask("Hello", None, Choosing(max_tokens=5)))
        assert plain.usage.output_tokens == 5
        assert plain.finish_reason == "length"

    def test_a_row_that_is_too_long_fails_alone(self, llm: LLM):
        texts = [f"Ada is {n} years old." for n in range(40)]
        texts[7] = "word " * 3000
        results = llm.batch(texts, {"age": "int(ge=0, le=120)"})
        assert [n for n, result in enumerate(results) if not result.ok] == [7]
        assert isinstance(results[7].error, PromptTooLong)

    def test_a_distribution_is_that_of_embedded(self, llm: LLM, uncalibrated: Path):
        check_five(llm, uncalibrated)

    def test_lark_needs_a_server_that_is_known_to_take_it(self, llm: LLM):
        with pytest.raises(UnsupportedConstraint):
            llm.call("x", Lark("start: /[a-z]{3}/"))

    def test_an_unknown_model_is_told_with_those_that_there_are(self, server: Server):
        with pytest.raises(UsageError, match=str(TINY)):
            LLM("vllm-server:other", base_url=server.url)

    def test_what_the_server_refuses_is_the_callers(self, llm: LLM):
        for extra, words in (
            ({"top_k": -7}, "top_k"),
            ({"topk": 7}, "did you mean 'top_k'"),
            ({"n": 2}, "for typedllm to say"),
        ):
            error = llm.run("x", int, sampling=Sampling(extra=extra)).error
            assert isinstance(error, UsageError)
            assert words in str(error)

    async def test_a_broken_text_fails_alone(self, make_engine: MakeEngine):
        engine = make_engine()
        replies = await asyncio.gather(*map(engine.send, [ask("a", COLOUR), ask("\ud800", COLOUR)]))
        assert isinstance(replies[0], Completion)
        assert isinstance(replies[1], Failure)
        assert "surrogate" in str(replies[1].error)


@dataclass(frozen=True, slots=True)
class Started:
    url: str
    process: subprocess.Popen[str]
    session: int


class TestStartedServer:
    @pytest.fixture(scope="class")
    @classmethod
    def started(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Started]:
        log = tmp_path_factory.mktemp("started") / "log"
        words = ["--model", str(TINY), "--port", "0", "--log", str(log), "--", *ARGUMENTS]
        command = [sys.executable, "-m", "typedllm", "start-server", *words]
        pipe = subprocess.PIPE
        process = subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True)
        try:
            assert process.stdout is not None
            url = process.stdout.readline().strip()
            assert url.endswith("/v1"), log.read_text()[-4000:]
            (child,) = psutil.Process(process.pid).children()
            yield Started(url, process, os.getsid(child.pid))
        finally:
            if process.poll() is None:
                process.terminate()
                process.communicate(timeout=60)

    @pytest.fixture
    def llm(self, started: Started) -> Iterator[LLM]:
        with LLM(f"vllm-server:{TINY}", base_url=started.url) as llm:
            yield llm

    def test_it_lands(self, llm: LLM):
        assert llm.explain(STORY).ending == "landing"
        texts = [f"Tell me the story of {n} dragons" for n in range(40)]
        results = llm.batch(texts, STORY, sampling=Sampling(temperature=2.0, max_tokens=36))
        assert all(result.ok and result.attempts == 1 for result in results)
        assert all(result.usage.output_tokens <= 36 for result in results)
        landed = [result for result in results if result.finish_reason == "landing"]
        assert landed
        assert all(result.clipped for result in landed)

    async def test_what_lands_is_streamed_likewise(self, started: Started):
        engine = open_engine(f"vllm-server:{TINY}", {"base_url": started.url})
        short = Choosing(max_tokens=25)
        found = await check_streams(
            engine, chat(ask("Order 7", ORDER, short)), ask("Order 7", ORDER, short)
        )
        await engine.close()
        assert [each.finish_reason for each in found] == ["landing", "landing"]

    def test_it_takes_lark(self, llm: LLM):
        assert llm.call("Say a word", Lark("start: /[a-z]{3}/")).isalpha()

    def test_a_distribution_is_that_of_embedded(self, llm: LLM, uncalibrated: Path):
        check_five(llm, uncalibrated)

    def test_ctrl_c_ends_it_and_leaves_nothing_behind(self, started: Started):
        assert len(left_of(started.session)) > 1  # the engine is a process of its own
        started.process.send_signal(signal.SIGINT)
        _, error = started.process.communicate(timeout=60)
        assert started.process.returncode == 130
        assert f'LLM("vllm-server:{TINY}", base_url="{started.url}")' in error
        assert left_of(started.session) == []


class _Other(http.server.BaseHTTPRequestHandler):
    """A server that is not vLLM, or an old one."""

    version: ClassVar[dict[str, Any]] = {"name": "other"}

    def do_GET(self) -> None:
        found: dict[str, Any] = self.version if self.path == "/version" else {"data": [{"id": "m"}]}
        body = json.dumps(found).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def other() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Other) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/v1"
        server.shutdown()


def test_what_is_no_vllm_or_an_old_one_is_refused(other: str, monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(UsageError, match="is no vLLM server"):
        LLM("vllm-server:m", base_url=other)
    monkeypatch.setattr(_Other, "version", {"version": "0.11.2"})
    with pytest.raises(UsageError, match=r"0\.11\.2 ignores constraints"):
        LLM("vllm-server:m", base_url=other)


def test_no_server_and_no_url_are_told():
    with pytest.raises(
        EngineError, match=r"no answer from the vLLM server at http://127\.0\.0\.1:9"
    ):
        LLM("vllm-server:m", base_url="http://127.0.0.1:9/v1")
    with pytest.raises(UsageError, match="no URL of http"):
        LLM("vllm-server:m", base_url="ftp://x/v1")
    with pytest.raises(UsageError, match="'guidance' can be relied on"):
        LLM("vllm-server:m", base_url="http://127.0.0.1:9/v1", engine_args={"backend": "xgrammar"})
