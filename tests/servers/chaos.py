"""A server of OpenAI's protocol on loopback that does wrong what its prompt names.

It streams where it is asked to, and does the same wrong there.
"""

from __future__ import annotations

import http.server
import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

from tests.servers.streams import event_stream, events_of

VALUE = '{"name":"Ada","age":36}'


def completion(content: str | None, finish: str = "stop", **message: Any) -> dict[str, Any]:
    """An answer as the protocol has it."""
    spoken = {"role": "assistant", "content": content, **message}
    return {
        "id": "1",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "choices": [{"index": 0, "message": spoken, "finish_reason": finish}],
        "usage": {"prompt_tokens": 7, "completion_tokens": 5, "total_tokens": 12},
    }


class Chaos(http.server.BaseHTTPRequestHandler):
    """Reads the fault out of the last message, as in `500 once #12`."""

    protocol_version = "HTTP/1.1"
    asked: ClassVar[Counter[str]] = Counter()

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.streaming = body.get("stream", False)
        users = [each for each in body["messages"] if each["role"] == "user"]
        name = users[0]["content"].split("\n")[0]
        self.asked[name] += 1
        fault, _, _ = name.partition(" #")
        if fault.endswith(" once"):
            if self.asked[name] > 1:
                return self.give(completion(VALUE))
            fault = fault.removesuffix(" once")
        if fault.isdigit():
            return self.give({"error": {"message": "out of order"}}, status=int(fault))
        return getattr(self, fault.replace(" ", "_"))()

    def give(self, value: Any, *, status: int = 200, **headers: str) -> None:
        """Answer with JSON, or with bytes as they are."""
        events = self.streaming and status == 200
        text = value if isinstance(value, bytes) else self.text_of(value, events)
        self.send_response(status)
        kind = "text/event-stream" if events else "application/json"
        for name, each in {"Content_Type": kind, **headers}.items():
            self.send_header(name.replace("_", "-"), each)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def text_of(self, value: Any, events: bool) -> bytes:
        return event_stream(events_of(value)) if events else json.dumps(value).encode()

    def fine(self) -> None:
        self.give(completion(VALUE))

    def busy(self) -> None:
        self.give({"error": {"message": "slow down"}}, status=429, Retry_After="0")

    def silence(self) -> None:
        time.sleep(20)
        self.close_connection = True

    def reset(self) -> None:
        text = self.begin()
        self.wfile.write(text[: len(text) // 2])
        self.close_connection = True

    def begin(self) -> bytes:
        """Send the head of an answer, and return what is to follow."""
        text = self.text_of(completion(VALUE), self.streaming)
        self.send_response(200)
        kind = "text/event-stream" if self.streaming else "application/json"
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        return text

    def drip(self) -> None:
        text = self.begin()
        for start in range(0, len(text), len(text) // 15):
            self.wfile.write(text[start : start + len(text) // 15])
            self.wfile.flush()
            time.sleep(0.1)

    def cut(self) -> None:
        self.give(completion(VALUE[:15], "length"))

    def broken_body(self) -> None:
        self.give(b"data: {\n\n" if self.streaming else json.dumps(completion(VALUE)).encode()[:60])

    def stops_early(self) -> None:
        """End a stream as if nothing was missing."""
        self.give(event_stream(list(events_of(completion(VALUE)))[:3]))

    def says_no_end(self) -> None:
        self.give(event_stream(events_of(completion(VALUE)), done=False))

    def breaks_off(self) -> None:
        """Say in the stream that it is over."""
        begun = list(events_of(completion(VALUE)))[:3]
        self.give(event_stream([*begun, {"error": {"message": "out of order"}}]))

    def breaks_off_with_429(self) -> None:
        begun = list(events_of(completion(VALUE)))[:3]
        self.give(event_stream([*begun, {"error": {"message": "slow down", "code": 429}}]))

    def html(self) -> None:
        self.give(b"<html>Welcome</html>", Content_Type="text/html")

    def wrong_type(self) -> None:
        self.give(completion(VALUE), Content_Type="text/plain")

    def two_choices(self) -> None:
        answer = completion(VALUE)
        second = {**answer["choices"][0], "index": 1}
        self.give({**answer, "choices": [*answer["choices"], second]})

    def no_choices(self) -> None:
        self.give({**completion(VALUE), "choices": []})

    def refusal(self) -> None:
        self.give(completion(None, refusal="I would rather not"))

    def filtered(self) -> None:
        self.give(completion("", "content_filter"))

    def empty(self) -> None:
        self.give(completion(""))

    def prose(self) -> None:
        self.give(completion("Sure! What would you like?"))

    def other_shape(self) -> None:
        self.give(completion('{"name":"Ada","age":"old"}'))

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@contextmanager
def chaos_server() -> Iterator[str]:
    """Run it; gives its base URL."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Chaos) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/v1"
        server.shutdown()
