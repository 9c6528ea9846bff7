"""Every engine that takes a key refuses one that cannot be sent, and never tells another one."""

from __future__ import annotations

import http.server
import json
import logging
import threading
import traceback
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any, ClassVar, Final

import anthropic
import openai
import pytest

from typedllm import LLM, EngineError, Result, UsageError
from typedllm.attempts import Policy
from typedllm.engines.dialects import DIALECTS
from typedllm.engines.instructor_providers import PROVIDERS
from typedllm.engines.keys import key_of
from typedllm.observers.console import LOGGER, log_to_console

pytestmark = pytest.mark.slow


def test_an_empty_key_is_refused_at_opening():
    with pytest.raises(UsageError, match="api_key: it is empty"):
        LLM("openai:m", api_key="")


KEY: Final = "geheim~Kuchen~47"  # of no form that the logs know
HEADER: Final = "geheim~Tee~48"
ODD: Final = {
    "a line break at its end": (f"{KEY}\n", r"take that off with \.strip\(\)"),
    "a blank before it": (f" {KEY}", r"take that off with \.strip\(\)"),
    "a line break within": (f"{KEY}\r\nX-Other: y", "only printable ASCII"),
    "no ASCII": (f"ü{KEY}", "only printable ASCII"),
    "a NUL": (f"{KEY}\0x", "only printable ASCII"),
    "bytes": (KEY.encode(), "expected a str, got bytes"),
}
MODELS: Final = [
    *(
        f"{name}:m"
        for name in (*DIALECTS, *PROVIDERS)
        if name not in ("instructor", "openai-batch")
    ),
    *("vllm-server:m", "openai-batch:m", "anthropic-batch:m", "instructor:openai/m"),
]
DIFFERENT: Final = [  # the others are reached as openai is
    model
    for model in MODELS
    if model in ("openai:m", "azure:m") or model.removesuffix(":m") not in DIALECTS
]
TAKES_HEADERS: Final = [model for model in MODELS if not model.startswith("instructor")]
QUICK: Final = Policy(attempts=2, min_wait_s=0.0, max_wait_s=0.0)


class Echo(http.server.BaseHTTPRequestHandler):
    """Answers each request with an error that repeats the request's head."""

    protocol_version = "HTTP/1.1"
    status: ClassVar[int] = 401  # 0 for a connection that breaks, 307 for one sent elsewhere
    seen: ClassVar[list[str]] = []

    def do_GET(self) -> None:  # as a vLLM server is met
        if "batches" in self.path or "elsewhere" in self.path:
            return self.repeat()
        found: Any = {"version": "0.32.0"} if self.path == "/version" else {"data": [{"id": "m"}]}
        return self.give(found, 200)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if b"vllm_xargs" in body:  # whether it lands
            return self.give({}, 200)
        return self.repeat()

    def repeat(self) -> None:
        head = f"{self.path} {dict(self.headers)}"
        self.seen.append(head)
        if not self.status:
            self.close_connection = True
            return
        if self.status == 307:
            place = f"http://localhost:{self.server.server_port}/elsewhere"
            return self.give({}, 307, Location=place)
        told = f"I know you: {head}"
        error = {"type": "api_error", "code": self.status, "message": told, "status": "NO"}
        return self.give({"type": "error", "error": error, "message": told}, self.status)

    def give(self, value: Any, status: int, **headers: str) -> None:
        text = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        for name, each in headers.items():
            self.send_header(name, each)
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def root() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Echo) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture(autouse=True)
def forget() -> None:
    Echo.seen.clear()


def opened(model: str, root: str, key: Any, **more: Any) -> LLM:
    options: dict[str, Any] = {"quiet_s": 0.0, "poll_s": 0.01} if "-batch" in model else {}
    options |= more.pop("options", {})
    if model.startswith("azure"):
        options["azure_endpoint"] = root
    else:
        native = PROVIDERS.keys() & {model.partition(":")[0].removesuffix("-batch")} - {
            "instructor"
        }
        more["base_url"] = root if native else f"{root}/v1"
    return LLM(model, api_key=key, engine_args=options, policy=QUICK, **more)


def all_told(error: BaseException | None) -> str:
    """What an error and all that it came of say, also what a traceback does not show."""
    assert error is not None
    told = "".join(traceback.format_exception(error))
    while error is not None:
        told += f"{error!s}{error!r}{vars(error)}"
        error = error.__cause__ or error.__context__
    return told


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("model", MODELS)
def test_a_key_that_cannot_be_sent_is_refused_at_opening(root: str, model: str, odd: str):
    key, told = ODD[odd]
    with pytest.raises(UsageError, match=told) as found:
        opened(model, root, key)
    assert "api_key" in str(found.value)
    assert "geheim" not in all_told(found.value)
    assert Echo.seen == []


@pytest.mark.parametrize("model", TAKES_HEADERS)
def test_a_header_that_cannot_be_sent_is_refused_at_opening(root: str, model: str):
    with pytest.raises(UsageError, match=r"headers\['X-Own'\].*strip") as found:
        opened(model, root, KEY, options={"headers": {"X-Own": f"{HEADER} "}})
    assert "geheim" not in all_told(found.value)


def test_a_key_of_the_environment_is_named_by_its_variable(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("THEIR_KEY", f"ü{KEY}")
    with pytest.raises(UsageError, match="openai: the environment's THEIR_KEY: only") as found:
        key_of("openai", "OTHER_KEY", "THEIR_KEY")
    assert "geheim" not in all_told(found.value)
    monkeypatch.setenv("THEIR_KEY", f"{KEY}\n")  # as $(cat file) never has it, but files do
    assert key_of("openai", "OTHER_KEY", "THEIR_KEY") == KEY


def test_a_key_that_an_sdk_finds_itself_is_checked_too(root: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("OPENAI_API_KEY", f"{KEY}\n")
    with pytest.raises(UsageError, match="the key that the environment has") as found:
        LLM("instructor:openai/m", base_url=f"{root}/v1")
    assert "geheim" not in all_told(found.value)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with LLM("instructor:openai/m", base_url=f"{root}/v1", policy=QUICK) as llm:
        assert "geheim" not in all_told(llm.run("Hi", int).error)


@pytest.mark.parametrize(
    ("model", "make"),
    [
        ("openai:m", openai.OpenAI),
        ("openai:m", openai.AsyncOpenAI),
        ("vllm-server:m", openai.OpenAI),
        ("openai-batch:m", openai.AsyncOpenAI),
        ("anthropic:m", anthropic.AsyncAnthropic),
        ("anthropic-batch:m", anthropic.AsyncAnthropic),
        ("instructor:openai/m", openai.AsyncOpenAI),
    ],
)
def test_the_key_of_a_callers_own_client_is_checked_too(root: str, model: str, make: Any):
    client = make(api_key=f"{KEY}\n", base_url=root)
    with pytest.raises(UsageError, match=r"the api_key of client=.*strip") as found:
        LLM(model, engine_args={"client": client})
    assert "geheim" not in all_told(found.value)


@pytest.fixture
def console() -> Iterator[None]:
    handler = log_to_console("DEBUG")
    yield
    LOGGER.removeHandler(handler)


@pytest.mark.parametrize(
    ("model", "status"),
    [*((model, 401) for model in MODELS), *product(DIFFERENT, (400, 503, 0))],
)
@pytest.mark.usefixtures("console")
def test_a_key_that_a_server_repeats_is_told_nowhere(
    root: str,
    model: str,
    status: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
):
    monkeypatch.setattr(Echo, "status", status)
    caplog.set_level(logging.DEBUG)
    log, journal = tmp_path / "log.jsonl", tmp_path / "journal.db"
    headers = {"headers": {"X-Own": HEADER}} if model in TAKES_HEADERS else {}
    with opened(model, root, KEY, log=log, options=headers) as llm:
        told = repr(llm) + repr(vars(llm))
        results = llm.batch(["Hi"], int, journal=journal)
        *events, streamed = llm.stream("Ho", int)
        assert isinstance(streamed, Result)
        told += repr([results, events, streamed])
        told += all_told(results[0].error) + all_told(streamed.error)
    kept = b"".join(file.read_bytes() for file in tmp_path.glob("journal.db*"))
    assert any(KEY in head for head in Echo.seen)
    assert not headers or any(HEADER in head for head in Echo.seen)
    assert status == 0 or "I know you" in told
    assert b"Failure" in kept or b"Error" in kept
    told += caplog.text + "".join(capfd.readouterr()) + log.read_text() + kept.decode("latin-1")
    assert "geheim" not in told


@pytest.mark.parametrize("model", [model for model in DIFFERENT if model in TAKES_HEADERS])
def test_nobody_else_is_asked_where_a_server_says_so(
    root: str, model: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(Echo, "status", 307)
    with opened(model, root, KEY, options={"headers": {"X-Own": HEADER}}) as llm:
        *_, streamed = llm.stream("Ho", int)
        assert isinstance(streamed, Result)
        for result in (llm.run("Hi", int), streamed):
            error = result.error
            assert isinstance(error, EngineError)
            assert "/elsewhere; give that as base_url" in str(error)
            assert (error.status, error.retryable, result.attempts) == (307, False, 1)
    assert Echo.seen
    assert not [head for head in Echo.seen if head.startswith("/elsewhere")]
