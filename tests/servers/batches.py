"""What servers of batch APIs have in common: jobs that a test holds up, spoils or ends."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Provider:
    """What a server knows, and how it behaves.

    Attributes:
        answer: makes the answer of a request's body; or an int, the status of an error.
        held: whether jobs run on and on.
        ends: how jobs end that do not end well, by their number from 0.
        leaves_out: the number of the request, over all jobs, that no answer file tells of.
        faults: statuses with which the next calls are refused, by method and beginning of path; 0
            for a connection that breaks, -1 for one that breaks in the middle of the answer.
        lets_in: whether a faulty call is done all the same, and only its answer is lost.
        jobs, files: what there is by now, by id.
        calls: method and path of each call.
    """

    answer: Callable[[dict[str, Any]], Any]
    held: bool = False
    ends: dict[int, str] = field(default_factory=dict)
    leaves_out: int = -1
    faults: dict[tuple[str, str], list[int]] = field(default_factory=dict)
    lets_in: bool = False
    jobs: dict[str, dict[str, Any]] = field(default_factory=dict)
    requests: list[list[dict[str, Any]]] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)
    calls: list[tuple[str, str]] = field(default_factory=list)
    url: str = ""

    @property
    def sent(self) -> list[int]:
        """How many requests each job had."""
        return [len(each) for each in self.requests]

    def fault(self, method: str, path: str) -> int | None:
        for (of_method, start), statuses in self.faults.items():
            if method == of_method and path.startswith(start) and statuses:
                return statuses.pop(0)
        return None


class BatchServer(http.server.BaseHTTPRequestHandler):
    """Answers with JSON; a subclass knows the API."""

    protocol_version = "HTTP/1.1"
    provider: Provider

    def done(self, method: str, path: str, body: bytes) -> Any:
        """Do a call: its JSON, or bytes; an int is a status."""
        raise NotImplementedError

    def said(self, status: int) -> dict[str, Any]:
        """What a refusal says."""
        raise NotImplementedError

    def handled(self, method: str) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        provider = self.provider
        provider.calls.append((method, self.path))
        found: Any = None
        fault = provider.fault(method, self.path)
        if fault in (None, -1) or provider.lets_in:
            found = self.done(method, self.path, body)
        self.close_connection = fault in (0, -1)
        if fault == 0:
            return
        found = found if fault in (None, -1) else fault
        status = found if isinstance(found, int) else 200
        value = self.said(found) if isinstance(found, int) else found
        text = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.send_response(status)
        kind = "application/octet-stream" if isinstance(value, bytes) else "application/json"
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text[: len(text) // 2] if fault == -1 else text)

    def do_GET(self) -> None:
        self.handled("GET")

    def do_POST(self) -> None:
        self.handled("POST")

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@contextmanager
def running(kind: type[BatchServer], provider: Provider, prefix: str = "") -> Iterator[Provider]:
    """Run a server."""
    own = type(kind.__name__, (kind,), {"provider": provider})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), own) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        provider.url = f"http://127.0.0.1:{server.server_port}{prefix}"
        yield provider
        server.shutdown()
