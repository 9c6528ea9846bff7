"""Servers on loopback that give one answer after another, and check what they are sent."""

from __future__ import annotations

import http.server
import json
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, ClassVar


@dataclass(frozen=True, slots=True)
class Refusal:
    """An answer with a status of its own; a str is no JSON.

    0 is a connection that breaks, 1 is no answer for 5 seconds.
    """

    status: int
    body: Any = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Asked:
    """A request that came."""

    path: str
    headers: dict[str, str]
    body: Any


class Canned(http.server.BaseHTTPRequestHandler):
    """Answers with what is next; a subclass knows the API."""

    protocol_version = "HTTP/1.1"
    asked: ClassVar[list[Asked]]
    answers: ClassVar[list[Any]]
    size: ClassVar[int] = 5  # characters of a piece of a stream

    def check(self, asked: Asked) -> Refusal | None:
        """Say what is wrong with a request."""
        raise NotImplementedError

    def events(self, answer: Any) -> Iterable[dict[str, Any]]:
        """An answer in the pieces in which it is streamed."""
        raise NotImplementedError

    def is_streamed(self, asked: Asked) -> bool:
        return bool(asked.body.get("stream"))

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        asked = Asked(self.path, {k.lower(): v for k, v in self.headers.items()}, body)
        self.asked.append(asked)
        given = self.check(asked) or self.answers.pop(0)
        if isinstance(given, Refusal):
            return self.refuse(given)
        if not self.is_streamed(asked):
            return self.give(json.dumps(given).encode(), "application/json")
        texts = [
            f"event: {event['type']}\ndata: {json.dumps(event)}\n\n"
            if "type" in event
            else f"data: {json.dumps(event)}\n\n"
            for event in self.events(given)
        ]
        return self.give("".join(texts).encode(), "text/event-stream")

    def refuse(self, given: Refusal) -> None:
        if given.status < 100:
            time.sleep(5 * given.status)
            self.close_connection = True
            return
        if isinstance(given.body, str):
            return self.give(given.body.encode(), "text/html", given)
        return self.give(json.dumps(given.body).encode(), "application/json", given)

    def give(self, text: bytes, kind: str, refusal: Refusal | None = None) -> None:
        self.send_response(refusal.status if refusal else 200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(text)))
        for name, value in (refusal.headers if refusal else {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@contextmanager
def running(kind: type[Canned]) -> Iterator[tuple[str, type[Canned]]]:
    """Run a server; gives its address, and the class that keeps what it was asked."""
    own = type(kind.__name__, (kind,), {"asked": [], "answers": []})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), own) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", own
        server.shutdown()
