"""A server on loopback that speaks as Azure OpenAI documents it; the last message names its mood.

The URLs, errors and filters are those of
https://learn.microsoft.com/azure/ai-foundry/openai/reference and .../concepts/content-filter.
"""

from __future__ import annotations

import http.server
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final
from urllib.parse import parse_qs, unquote, urlsplit

from openai.types.chat import ChatCompletion, ChatCompletionChunk

from tests.servers.openai_types import check_request

KEY: Final = "0123456789abcdef0123456789abcdef"
DEPLOYMENT: Final = "my deployment"
VERSION: Final = "2024-10-21"
RETRY_AFTER_S: Final = 0.3
_SAFE: Final = {"filtered": False, "severity": "safe"}
_FILTERS: Final = dict.fromkeys(("hate", "self_harm", "sexual", "violence"), _SAFE)


@dataclass
class Asked:
    """A request that came."""

    path: str
    headers: dict[str, str] = field(repr=False)
    body: Any
    at_s: float


class Azure(http.server.BaseHTTPRequestHandler):
    """Answers with `content`, or as the last message of the request says."""

    protocol_version = "HTTP/1.1"
    asked: ClassVar[list[Asked]] = []
    content: ClassVar[str] = "Hello"

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.asked.append(Asked(self.path, headers, body, time.monotonic()))
        if headers.get("api-key") != KEY and headers.get("authorization") != f"Bearer {KEY}":
            return self.give(401, error("401", "Access denied due to invalid subscription key or"
                " wrong API endpoint. Make sure to provide a valid key for an active subscription"
                " and use a correct regional API endpoint for your resource."))  # fmt: skip
        found = self.deployment(body)
        if found is None:
            return self.give(404, error("404", "Resource not found"))
        if found != DEPLOYMENT:
            return self.give(404, error("DeploymentNotFound", "The API deployment for this resource"
                " does not exist. If you created the deployment within the last 5 minutes, please"
                " wait a moment and try again."))  # fmt: skip
        try:
            check_request(body)
        except ValueError as wrong:
            return self.give(400, error(None, str(wrong), type="invalid_request_error"))
        return self.moody(body["messages"][-1]["content"], bool(body.get("stream")))

    def deployment(self, body: Any) -> str | None:
        """What is asked for: in the URL, or by the v1 API in the body; None where nothing is."""
        parts = urlsplit(self.path)
        version = parse_qs(parts.query).get("api-version")
        if parts.path == "/openai/v1/chat/completions" and version is None:
            return body["model"]
        match parts.path.split("/"):
            case ["", "openai", "deployments", name, "chat", "completions"] if version == [VERSION]:
                return unquote(name)
            case _:
                return None

    def moody(self, mood: str, stream: bool) -> None:
        if mood == "filtered prompt":
            return self.give(400, filtered_prompt())
        if mood == "filtered answer":
            return self.give(200, completion("", "content_filter"))
        if mood == "busy once" and sum(one.body["messages"][-1]["content"] == mood
                                       for one in self.asked) == 1:  # fmt: skip
            told = error("429", "Requests to the ChatCompletions_Create Operation under Azure"
                f" OpenAI API version {VERSION} have exceeded token rate limit of your current"
                " OpenAI S0 pricing tier. Please retry after 60 seconds.")  # fmt: skip
            wait_ms = str(int(RETRY_AFTER_S * 1000))
            return self.give(429, told, {"retry-after-ms": wait_ms, "retry-after": "60"})
        if stream:
            return self.stream(chunks(self.content))
        return self.give(200, completion(self.content))

    def stream(self, events: list[dict[str, Any]]) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream; charset=utf-8")
        self.end_headers()
        for each in [*map(json.dumps, events), "[DONE]"]:
            self.wfile.write(f"data: {each}\n\n".encode())
        self.close_connection = True

    def give(self, status: int, value: Any, headers: dict[str, str] | None = None) -> None:
        text = json.dumps(value).encode()
        self.send_response(status)
        told = {"Content-Type": "application/json", "apim-request-id": "a1-b2", **(headers or {})}
        for name, each in {**told, "Content-Length": str(len(text))}.items():
            self.send_header(name, each)
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


def error(code: str | None, message: str, **more: Any) -> dict[str, Any]:
    return {"error": {"code": code, "message": message, **more}}


def filtered_prompt() -> dict[str, Any]:
    """The error of a prompt that the filters take for violent."""
    violent = {"filtered": True, "severity": "medium"}
    return error(
        "content_filter",
        "The response was filtered due to the prompt triggering Azure OpenAI's content management"
        " policy. Please modify your prompt and retry.",
        type=None,
        param="prompt",
        status=400,
        innererror={
            "code": "ResponsibleAIPolicyViolation",
            "content_filter_result": {**_FILTERS, "violence": violent},
        },
    )


def completion(content: str, finish: str = "stop") -> dict[str, Any]:
    """An answer, with what the filters found in it and in the prompt."""
    answer = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "gpt-4o-2024-08-06",
        "system_fingerprint": "fp_1",
        "prompt_filter_results": [{"prompt_index": 0, "content_filter_results": _FILTERS}],
        "choices": [
            {
                "index": 0,
                "finish_reason": finish,
                "logprobs": None,
                "message": {"role": "assistant", "content": content, "refusal": None},
                "content_filter_results": _FILTERS,
            }
        ],
        "usage": {
            "prompt_tokens": 20,
            "completion_tokens": 5,
            "total_tokens": 25,
            "prompt_tokens_details": {"audio_tokens": 0, "cached_tokens": 0},
        },
    }
    ChatCompletion.model_validate(answer)
    return answer


def chunks(content: str) -> list[dict[str, Any]]:
    """The same answer in pieces; the first is only of what the filters found in the prompt."""
    whole = completion(content)
    head = {**whole, "object": "chat.completion.chunk", "choices": []}
    del head["usage"], head["prompt_filter_results"]
    deltas = [{"role": "assistant", "content": ""}, *({"content": each} for each in content), {}]
    pieces = [
        {"index": 0, "delta": delta, "finish_reason": None if delta else "stop", "logprobs": None}
        for delta in deltas
    ]
    found = [
        {**head, "prompt_filter_results": whole["prompt_filter_results"]},
        *({**head, "choices": [{**each, "content_filter_results": {}}]} for each in pieces),
        {**head, "usage": whole["usage"]},
    ]
    for chunk in found:
        ChatCompletionChunk.model_validate(chunk)
    return found


@contextmanager
def azure_server() -> Iterator[str]:
    """Run it; gives the endpoint of the resource."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Azure) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
