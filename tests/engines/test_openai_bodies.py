"""What each server is sent, to the letter: recorded on loopback, compared with a file beside.

After a wanted change write the file anew, and read its difference:

    RENEW_SNAPSHOTS=1 python -m pytest tests/engines/test_openai_bodies.py
"""

from __future__ import annotations

import http.server
import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, Final
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.servers.chaos import completion
from tests.servers.openai_types import check_request
from typedllm import LLM, Sampling
from typedllm.engines.dialects import DIALECTS

KEY: Final = "the-key"
MODEL: Final = "the-model"
SNAPSHOT: Final = Path(__file__).with_name("openai_bodies.json")
SHAPE: Final = {"name": "str(max_length=8)  # of the person", "age": "int(ge=0, le=120) | None"}
VERSION: Final = "2024-10-21"
# What is opened for each name in the snapshot: the model, and the options of its engine.
CASES: Final[dict[str, tuple[str, dict[str, Any]]]] = {
    **{name: (f"{name}:{MODEL}", {}) for name in (*DIALECTS, "vllm-server")},
    "azure with a version": (f"azure:{MODEL}", {"api_version": VERSION}),
    "groq, a strict model": ("groq:openai/gpt-oss-20b", {}),
    "openai by tools": (f"openai:{MODEL}", {"sends": "tools"}),
    "openai by json_object": (f"openai:{MODEL}", {"sends": "json_object"}),
    "openai, an old model": ("openai:gpt-4", {}),
}
BY_THE_PACKAGE: Final = [name for name in CASES if name.startswith(("openai", "azure"))]


class Recorder(http.server.BaseHTTPRequestHandler):
    """Answers like any of the servers, and keeps what it was sent."""

    protocol_version = "HTTP/1.1"
    seen: ClassVar[list[dict[str, Any]]] = []
    content: ClassVar[str] = ""

    def do_GET(self) -> None:  # as a vLLM server is met
        found: Any = {"version": "0.32.0"} if self.path == "/version" else {"data": [{"id": MODEL}]}
        self.give(found)

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        parts = urlsplit(self.path)
        keys = [name for name, value in self.headers.items() if KEY in value]
        self.seen.append(
            {
                "path": parts.path,
                "query": parse_qs(parts.query),
                "key": {name.lower(): self.headers[name] for name in keys},
                "body": body,
            }
        )
        if "tools" in body:
            function = {"name": "answer", "arguments": self.content}
            calls = [{"id": "1", "type": "function", "function": function}]
            return self.give(completion(None, "tool_calls", tool_calls=calls))
        return self.give(completion(self.content))

    def give(self, value: Any) -> None:
        text = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def root() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Recorder) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture(scope="module")
def sent(root: str) -> dict[str, Any]:
    """What each server was sent; written into the file where that was asked for."""
    found = {name: {"typed": typed(root, name), "plain": plain(root, name)} for name in CASES}
    if os.environ.get("RENEW_SNAPSHOTS"):
        SNAPSHOT.write_text(json.dumps(found, indent=1) + "\n")
    return found


def llm_of(root: str, name: str) -> LLM:
    model, options = CASES[name]
    if model.startswith("azure"):
        return LLM(model, api_key=KEY, engine_args={"azure_endpoint": root, **options})
    return LLM(model, api_key=KEY, base_url=f"{root}/v1", engine_args=options)


def typed(root: str, name: str) -> dict[str, Any]:
    """The request of a call with a type, a system text and a few options."""
    Recorder.content = '{"name":"Ada","age":36}'
    seed = None if name == "deepseek" else 3
    sampling = Sampling(temperature=0.5, top_p=0.9, max_tokens=64, seed=seed)
    with llm_of(root, name) as llm:
        Recorder.seen.clear()  # of the meeting
        value = llm.call("Who?", SHAPE, system="You know people.", sampling=sampling)
    assert value == {"name": "Ada", "age": 36}
    (request,) = Recorder.seen
    return request


def plain(root: str, name: str) -> dict[str, Any]:
    """The request of a call without any of these."""
    Recorder.content = "Ada"
    with llm_of(root, name) as llm:
        Recorder.seen.clear()
        assert llm.call("Who?") == "Ada"
    (request,) = Recorder.seen
    return request


@pytest.mark.parametrize("name", CASES)
def test_what_is_sent_is_what_was_sent_before(sent: dict[str, Any], name: str):
    kept = json.loads(SNAPSHOT.read_text())
    assert sent[name] == kept.get(name), "see the top of this file for how to renew the snapshot"


def test_the_snapshot_has_no_other_servers(sent: dict[str, Any]):
    assert json.loads(SNAPSHOT.read_text()).keys() == sent.keys()


@pytest.mark.parametrize("name", BY_THE_PACKAGE)
def test_the_vendors_types_know_all_of_it(sent: dict[str, Any], name: str):
    for request in sent[name].values():
        check_request(request["body"])


def test_the_check_finds_what_the_types_do_not_know(sent: dict[str, Any]):
    body = sent["openai"]["typed"]["body"]
    for wrong in (
        {**body, "ebnf": "root ::= x"},
        {**body, "messages": [{**body["messages"][0], "nmae": "x"}]},
        {**body, "temperature": "hot"},
        {name: value for name, value in body.items() if name != "model"},
    ):
        with pytest.raises(ValueError, match=r"."):
            check_request(wrong)
