"""A streamed answer is the one that is not streamed, however its bytes are cut; on loopback."""

from __future__ import annotations

import asyncio
import http.server
import json
import re
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from itertools import pairwise
from typing import Any, ClassVar

import openai
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from tests.servers.streams import event_stream, events_of
from typedllm.engines.base import Engine
from typedllm.engines.connection import Connection
from typedllm.engines.openai_answers import completion_of
from typedllm.engines.openai_client import OpenAIClient
from typedllm.engines.openai_streams import streamed
from typedllm.engines.table import open_engine
from typedllm.errors import EngineError, PromptTooLong, Refused, UsageError
from typedllm.records import Completion, Failure, Message, Reply, Request, Segment


class Streams(http.server.BaseHTTPRequestHandler):
    """Gives its one answer, or its bytes of a stream cut where it is told."""

    protocol_version = "HTTP/1.1"
    answer: ClassVar[dict[str, Any]] = {}
    sent: ClassVar[bytes] = b""
    cuts: ClassVar[list[int]] = []
    pause_s: ClassVar[float] = 0.002
    bodies: ClassVar[list[dict[str, Any]]] = []
    gone: ClassVar[threading.Event] = threading.Event()

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.bodies.append(body)
        text = self.sent if body.get("stream") else json.dumps(self.answer).encode()
        kind = "text/event-stream" if body.get("stream") else "application/json"
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        places = sorted({0, *(cut % max(len(text), 1) for cut in self.cuts), len(text)})
        try:
            for start, stop in pairwise(places):
                part = text[start:stop]
                self.wfile.write(b"%x\r\n%s\r\n" % (len(part), part))
                self.wfile.flush()
                time.sleep(self.pause_s)
            self.wfile.write(b"0\r\n\r\n")
        except OSError:
            self.gone.set()
            self.close_connection = True

    def handle(self) -> None:
        with suppress(ConnectionError):  # the package closes a stream at its last event
            super().handle()

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Streams) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/v1"
        server.shutdown()


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture(scope="module")
def engine(url: str, runner: asyncio.Runner) -> Iterator[Engine]:
    engine = open_engine("sglang:m", {"base_url": url})
    yield engine
    runner.run(engine.close())


@pytest.fixture(autouse=True)
def fresh() -> None:
    Streams.bodies.clear()
    Streams.cuts = []
    Streams.pause_s = 0.002
    Streams.gone.clear()


def serve(answer: dict[str, Any], *, size: int = 5, end: str = "\n") -> None:
    Streams.answer = answer
    Streams.sent = event_stream(events_of(answer, size), end=end)


CHAT = (Message(role="user", content=(Segment(text="Hi"),)),)
RAW = (Segment(text="Hi"),)


async def both(engine: Engine, prompt: Any = CHAT) -> tuple[Reply, Reply, str]:
    """The reply without a stream, that of a stream, and the pieces that were told."""
    pieces: list[str] = []
    plain = await engine.send(Request(prompt=prompt))
    told = await engine.send(Request(prompt=prompt, tell=pieces.append))
    return plain, told, "".join(pieces)


def answered(message: dict[str, Any], finish: str = "stop", **choice: Any) -> dict[str, Any]:
    return {
        "id": "1",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "choices": [{"index": 0, "message": message, "finish_reason": finish, **choice}],
        "usage": {
            "prompt_tokens": 7,
            "completion_tokens": 5,
            "total_tokens": 12,
            "prompt_tokens_details": {"cached_tokens": 3},
        },
    }


def logprobs_of(text: str) -> dict[str, Any]:
    """A token a character."""
    tokens = [
        {"token": each, "bytes": list(each.encode()), "logprob": -0.5, "top_logprobs": []}
        for each in text
    ]
    return {"content": tokens}


TEXTS = st.text(
    st.one_of(
        st.sampled_from('{}[]":,\\\n\r\t é\u2028\u2029\x85😀👩‍👧🇳🇴'),
        st.characters(exclude_categories=["Cs"]),
    ),
    max_size=40,
)


@st.composite
def answers(draw: st.DrawFn) -> dict[str, Any]:
    content = draw(st.none() | TEXTS)
    message: dict[str, Any] = {"role": "assistant", "content": content}
    if draw(st.booleans()):
        message[draw(st.sampled_from(["reasoning", "reasoning_content"]))] = draw(TEXTS)
    if draw(st.integers(0, 4)) == 0:
        message["refusal"] = draw(TEXTS)
    finish = draw(st.sampled_from(["stop", "length", "content_filter", "eos", "asleep"]))
    logprobs = logprobs_of(content) if content and draw(st.booleans()) else None
    return answered(message, finish, logprobs=logprobs)


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(
    answer=answers(),
    size=st.integers(1, 9),
    end=st.sampled_from(["\n", "\r\n", "\r"]),
    cuts=st.lists(st.integers(0, 1 << 16), max_size=6),
)
def test_a_stream_is_the_answer_that_is_not_streamed(
    engine: Engine,
    runner: asyncio.Runner,
    answer: dict[str, Any],
    size: int,
    end: str,
    cuts: list[int],
):
    serve(answer, size=size, end=end)
    Streams.cuts = cuts
    plain, told, pieces = runner.run(both(engine))
    if isinstance(plain, Failure):
        assert isinstance(told, Failure)
        assert str(told.error) == str(plain.error)
    else:
        assert isinstance(told, Completion)
        assert told == plain
        assert pieces == told.text
        assert told.usage.cached_tokens == 3


def test_every_cut_of_an_event(engine: Engine, runner: asyncio.Runner):
    serve(answered({"role": "assistant", "content": 'é"😀\n'}), size=4)
    Streams.pause_s = 0.0005
    start = Streams.sent.index("é".encode()) - 10
    for cut in range(start, start + 30):
        Streams.cuts = [cut]
        pieces: list[str] = []
        reply = runner.run(engine.send(Request(prompt=CHAT, tell=pieces.append)))
        assert isinstance(reply, Completion)
        assert pieces == [reply.text] == ['é"😀\n']


def test_what_the_events_are_made_of_is_what_the_package_knows():
    answer = answered({"role": "assistant", "content": "Hello", "refusal": None})
    answer["choices"][0]["logprobs"] = {**logprobs_of("Hello"), "refusal": None}
    ChatCompletion.model_validate(answer)
    for event in events_of(answer, 2):
        ChatCompletionChunk.model_validate(event)


def test_raw_text_is_streamed_with_its_tokens(engine: Engine, runner: asyncio.Runner):
    text = 'a "😀" b'
    logprobs = {"tokens": list(text), "token_logprobs": [-0.5] * len(text)}
    answer = answered({}, logprobs=logprobs)
    answer["choices"][0].pop("message")
    answer["choices"][0]["text"] = text
    serve(answer, size=1)
    plain, told, pieces = runner.run(both(engine, RAW))
    assert told == plain
    assert isinstance(told, Completion)
    assert pieces == told.text == text
    assert len(told.tokens or ()) == len(text)
    assert Streams.bodies[-1]["stream_options"] == {"include_usage": True}


def test_pieces_are_told_as_they_come(engine: Engine, runner: asyncio.Runner):
    serve(answered({"role": "assistant", "content": "one two six", "reasoning": "hm"}), size=4)
    Streams.pause_s = 0.1
    Streams.cuts = [found.start() for found in re.finditer(b"data:", Streams.sent)]
    at: list[tuple[str, float]] = []
    request = Request(prompt=CHAT, tell=lambda piece: at.append((piece, time.monotonic())))
    assert isinstance(runner.run(engine.send(request)), Completion)
    assert [piece for piece, _ in at] == ["one ", "two ", "six"]
    assert at[-1][1] - at[0][1] > 0.15


def test_what_listens_and_fails_harms_nothing(engine: Engine, runner: asyncio.Runner):
    serve(answered({"role": "assistant", "content": "fine"}))

    def fail(piece: str) -> None:
        raise ValueError(piece)

    reply = runner.run(engine.send(Request(prompt=CHAT, tell=fail)))
    assert isinstance(reply, Completion)
    assert reply.text == "fine"


CALL = {"id": "1", "type": "function", "function": {"name": "answer", "arguments": '{"a": "é😀"}'}}


@pytest.mark.parametrize(
    ("message", "text", "pieces"),
    [
        ({"content": None, "tool_calls": [CALL]}, '{"a": "é😀"}', 3),
        ({"content": "I call it.", "tool_calls": [CALL]}, '{"a": "é😀"}', 3),
        ({"content": "I do not call it."}, "I do not call it.", 1),
    ],
)
def test_a_called_function_is_told_by_its_arguments(
    url: str, runner: asyncio.Runner, message: dict[str, Any], text: str, pieces: int
):
    serve(answered({"role": "assistant", **message}, "tool_calls"))
    told: list[str] = []

    async def ask() -> Reply:
        client = OpenAIClient(Connection(base_url=url), server="it")
        try:
            return await streamed(
                client,
                "/chat/completions",
                {"stream": True, "tools": [{}]},
                told.append,
                server="it",
                read=lambda answer: completion_of(answer, "it"),
            )
        finally:
            await client.close()

    reply = runner.run(ask())
    assert isinstance(reply, Completion)
    assert reply.text == text == "".join(told)
    assert len(told) == pieces


def test_mistral_is_not_asked_to_count_and_speaks_in_parts(url: str, runner: asyncio.Runner):
    thought = [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}]
    deltas = [thought, "Hel", [{"type": "text", "text": "lo"}]]
    events: list[dict[str, Any]] = [
        {"choices": [{"index": 0, "delta": {"content": each}, "finish_reason": None}]}
        for each in deltas
    ]
    events[-1]["choices"][0]["finish_reason"] = "stop"
    events[-1]["usage"] = {"prompt_tokens": 2, "completion_tokens": 3}
    Streams.sent = event_stream(events)
    pieces: list[str] = []
    mistral = open_engine("mistral:m", {"base_url": url, "api_key": "k"})
    reply = runner.run(mistral.send(Request(prompt=CHAT, tell=pieces.append)))
    runner.run(mistral.close())
    assert isinstance(reply, Completion)
    assert (pieces, reply.text, reply.usage.tokens) == (["Hel", "lo"], "Hello", 5)
    assert Streams.bodies[-1]["stream"] is True
    assert "stream_options" not in Streams.bodies[-1]


def event(**fields: Any) -> bytes:
    return event_stream([fields], done=False)


def choice(**fields: Any) -> bytes:
    return event(choices=[{"index": 0, **fields}])


BEGUN = choice(delta={"content": "Hel"})
ENDED = choice(delta={}, finish_reason="stop")
# what is streamed: the error, whether the same may succeed later, and what it says
BROKEN: dict[str, tuple[bytes, type[Exception], bool, str]] = {
    "nothing": (b"", EngineError, True, "broke off in the middle"),
    "no end": (BEGUN, EngineError, True, "broke off in the middle"),
    "only done": (BEGUN + b"data: [DONE]\n\n", EngineError, True, "broke off in the middle"),
    "cut event": (BEGUN + ENDED[:-9], EngineError, True, "broke off in the middle"),
    "no JSON": (BEGUN + b"data: {\n\n", EngineError, True, "no JSON"),
    "no UTF-8": (BEGUN + b'data: "\xff"\n\n', EngineError, False, "no JSON"),
    "a list": (BEGUN + b"data: []\n\n", EngineError, False, "no answer of OpenAI's protocol"),
    "a number": (choice(delta={"content": 7}), EngineError, False, "no answer of OpenAI's"),
    "busy": (BEGUN + event(error={"message": "slow", "code": 429}), EngineError, True, "slow"),
    "rate": (
        event(error={"message": "slow", "code": "rate_limit_exceeded"}),
        EngineError, True, "HTTP 429: slow",
    ),
    "down": (BEGUN + event(error={"message": "down"}), EngineError, True, "broke off.*down"),
    "bad": (event(error={"message": "no field x", "code": 400}), UsageError, False, "field x"),
    "long": (
        event(error={"message": "the context length is 9", "code": "context_length_exceeded"}),
        PromptTooLong, False, "context length is 9",
    ),
    "filtered": (event(error={"message": "oh", "code": "content_filter"}), Refused, False, "oh"),
    "two": (
        ENDED + event(choices=[{"index": 1, "delta": {}, "finish_reason": "stop"}]),
        EngineError, False, "no answer of OpenAI's protocol",
    ),
    "another": (
        choice(delta={"content": "a"})
        + choice(delta={"tool_calls": [{"index": 0, **CALL}]}, finish_reason="stop"),
        EngineError, False, "is not what it said at first",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_stream_is_no_value(engine: Engine, runner: asyncio.Runner, name: str):
    Streams.sent, kind, retryable, words = BROKEN[name]
    reply = runner.run(engine.send(Request(prompt=CHAT, tell=lambda piece: None)))
    assert isinstance(reply, Failure)
    assert type(reply.error) is kind
    assert getattr(reply.error, "retryable", False) is retryable
    with pytest.raises(kind, match=words):
        raise reply.error


def test_the_end_need_not_be_said_twice(engine: Engine, runner: asyncio.Runner):
    Streams.sent = BEGUN + ENDED
    reply = runner.run(engine.send(Request(prompt=CHAT, tell=lambda piece: None)))
    assert isinstance(reply, Completion)
    assert reply.text == "Hel"


def test_who_gives_up_closes_the_connection(engine: Engine, runner: asyncio.Runner):
    Streams.sent = BEGUN * 400
    Streams.cuts = [len(BEGUN) * place for place in range(400)]
    Streams.pause_s = 0.01

    async def give_up() -> None:
        begun = asyncio.Event()
        request = Request(prompt=CHAT, tell=lambda piece: begun.set())
        task = asyncio.create_task(engine.send(request))
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    runner.run(give_up())
    assert Streams.gone.wait(5)


def test_a_client_that_is_not_async_streams_in_a_thread(url: str, runner: asyncio.Runner):
    serve(answered({"role": "assistant", "content": "one two"}))
    found: list[Any] = []
    with openai.OpenAI(api_key="k", base_url=url) as ready:
        client = OpenAIClient(ready, server="it")
        runner.run(client.stream("/chat/completions", {"stream": True}, found.append))
        assert len(found) == 5

        Streams.sent = BEGUN * 400
        Streams.cuts = [len(BEGUN) * place for place in range(400)]
        Streams.pause_s = 0.01

        async def give_up() -> None:
            stream = client.stream("/chat/completions", {"stream": True}, found.append)
            async with asyncio.timeout(0.2):
                await stream

        with pytest.raises(TimeoutError):
            runner.run(give_up())
        assert Streams.gone.wait(5)
