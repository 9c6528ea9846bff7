"""What the errors of an HTTP server mean, from a real one on loopback."""

from __future__ import annotations

import asyncio
import http.server
import json
import threading
from collections.abc import Iterator
from typing import Any, ClassVar
from urllib.parse import unquote

import pytest

from typedllm.engines.connection import Connection
from typedllm.engines.openai_client import OpenAIClient
from typedllm.errors import EngineError, PromptTooLong, UsageError


class Answers(http.server.BaseHTTPRequestHandler):
    """Answers with what the path says."""

    protocol_version = "HTTP/1.1"
    seen: ClassVar[list[Any]] = []
    headers_seen: ClassVar[list[dict[str, str]]] = []

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.seen.append((self.headers.get("Authorization"), json.loads(body)))
        self.headers_seen.append(dict(self.headers))
        status, *words = unquote(self.path).removeprefix("/v1/").split("/")
        if status == "reset":
            self.close_connection = True
            return
        text = (
            "<html>" if words == ["html"] else json.dumps({"error": {"message": " ".join(words)}})
        )
        if status == "200":
            text = json.dumps({"echo": json.loads(body)})
        self.send_response(int(status))
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        if status == "429":
            self.send_header("Retry-After", "7")
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/v1"
        server.shutdown()


def opened(url: str, api_key: str | None = None) -> OpenAIClient:
    return OpenAIClient(Connection(base_url=url, api_key=api_key), server="the server")


async def error_of(url: str, path: str) -> Exception:
    client = opened(url, "sk-a-key-that-is-secret")
    with pytest.raises((EngineError, UsageError)) as found:
        await client.post(path, {"x": 1})
    await client.close()
    assert "sk-a-key" not in str(found.value)
    return found.value


async def test_a_body_goes_and_one_comes_back(url: str):
    client = opened(url + "/", "a-key")
    assert client.base_url == url
    assert await client.post("/200", {"x": [1, "é"]}) == {"echo": {"x": [1, "é"]}}
    assert Answers.seen[-1] == ("Bearer a-key", {"x": [1, "é"]})
    await client.close()
    await client.close()


async def test_what_the_environment_has_for_openai_goes_to_no_other_server(
    url: str, monkeypatch: pytest.MonkeyPatch
):
    for name in ("OPENAI_ORG_ID", "OPENAI_PROJECT_ID"):
        monkeypatch.setenv(name, "mine")
    client = opened(url, "a-key")
    await client.post("/200", {})
    await client.close()
    assert not [name for name in Answers.headers_seen[-1] if "openai" in name.lower()]


@pytest.mark.parametrize(
    ("path", "kind", "retryable"),
    [
        ("/400/no such field", UsageError, None),
        ("/400/this model's maximum context length is 8", PromptTooLong, None),
        ("/422/nonsense", UsageError, None),
        ("/401/wrong key", EngineError, False),
        ("/404/no such model", EngineError, False),
        ("/429/slow down", EngineError, True),
        ("/500/broken", EngineError, True),
        ("/503/html", EngineError, True),
        ("/reset", EngineError, True),
    ],
)
async def test_each_error_is_on_somebodys_side(
    url: str, path: str, kind: type[Exception], retryable: bool | None
):
    error = await error_of(url, path)
    assert type(error) is kind
    if isinstance(error, EngineError):
        assert error.retryable is retryable
        if "429" in path:
            assert (error.retry_after_s, error.status) == (7.0, 429)
    if "/4" in path and "html" not in path:
        assert path.rpartition("/")[2] in str(error)


async def test_no_server_is_worth_another_try():
    error = await error_of("http://127.0.0.1:9/v1", "/200")
    assert isinstance(error, EngineError)
    assert error.retryable


def test_it_works_from_one_event_loop_after_another(url: str):
    client = opened(url)

    async def ask() -> Any:
        answer = await client.post("/200", {})
        await client.close()
        return answer

    assert asyncio.run(ask()) == asyncio.run(ask()) == {"echo": {}}


def test_what_is_no_url_is_refused():
    for wrong in ("localhost:8000", "file:///etc/passwd", "http://"):
        with pytest.raises(UsageError, match="no URL of http or https"):
            opened(wrong)
