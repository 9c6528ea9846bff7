"""Answers that come as the call of a function, streamed from a server to whoever reads them."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Any, ClassVar, Final

import openai
import pytest
from pydantic import BaseModel
from typing_extensions import override

from tests.servers.canned import Asked, Canned, Refusal, running
from tests.servers.chaos import completion
from tests.servers.openai_types import check_request
from tests.servers.streams import events_of
from typedllm import LLM, EngineError, Invalid, Result, Truncated
from typedllm.attempts import Policy
from typedllm.client.stream import StartsAnew
from typedllm.output.streamed import Item, Partial

ADA: Final = '{"name": "Ada é😀", "tags": ["a", "b"]}'
SHAPE: Final = {"name": "str", "tags": "list[str]"}
# the model, and what is opened with it
OPENED: Final[dict[str, tuple[str, dict[str, Any]]]] = {
    "of its own accord": ("openai:gpt-4", {}),
    "strict": ("openai:m", {"sends": "tools"}),
    "not strict": ("together:m", {"sends": "tools"}),
}


class Tools(Canned):
    """Streams calls; an answer with `held` waits in its middle, one with `upto` ends too early."""

    size = 3
    go: ClassVar[threading.Event] = threading.Event()

    @override
    def check(self, asked: Asked) -> Refusal | None:
        check_request(asked.body)
        (tool,) = asked.body["tools"]
        named = asked.body["tool_choice"]["function"]["name"]
        wanted = asked.body["stream"] and named == tool["function"]["name"]
        return None if wanted else Refusal(400, {"error": {"message": "no stream of a call"}})

    @override
    def events(self, answer: Any) -> Iterable[dict[str, Any]]:
        answer = dict(answer)
        self.held, upto = answer.pop("held", 0), answer.pop("upto", None)
        return list(events_of(answer, self.size))[:upto]

    @override
    def give(self, text: bytes, kind: str, refusal: Refusal | None = None) -> None:
        if refusal or not self.held:
            return super().give(text, kind, refusal)
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        middle = [part + b"\n\n" for part in text.split(b"\n\n")]
        self.wfile.write(b"".join(middle[: self.held]))
        self.wfile.flush()
        if self.go.wait(10):
            self.wfile.write(b"".join(middle[self.held :])[: -len(b"\n\n")])
        return None


def called(*arguments: str, finish: str = "tool_calls", said: str | None = None) -> dict[str, Any]:
    """An answer that calls the function, so many times."""
    calls = [
        {
            "id": f"call_{place}",
            "type": "function",
            "function": {"name": "answer", "arguments": each},
        }
        for place, each in enumerate(arguments)
    ]
    return completion(said, finish, tool_calls=calls)


@pytest.fixture
def server() -> Iterator[tuple[str, Any]]:
    with running(Tools) as (url, kind):
        Tools.go.clear()
        yield f"{url}/v1", kind
        Tools.go.set()


def opened(url: str, how: str = "strict", **more: Any) -> LLM:
    model, options = OPENED[how]
    policy = Policy(attempts=3, repairs=1, min_wait_s=0.0, max_wait_s=0.0)
    return LLM(model, base_url=url, api_key="k", policy=policy, engine_args=options, **more)


def result_of(events: list[Any]) -> Result[Any]:
    assert isinstance(events[-1], Result)
    return events[-1]


def check_parts(parts: list[Any]) -> None:
    """Check what was shown of ADA; what adds nothing to the value, as its end, need not be."""
    assert all(isinstance(part, Partial) for part in parts)
    shown = "".join(part.piece for part in parts)
    assert ADA.startswith(shown)
    assert ADA.removeprefix(shown).strip('"]}') == ""
    assert parts[-1].value == json.loads(ADA)


@pytest.mark.parametrize("size", [1, 3, 100])
@pytest.mark.parametrize("how", OPENED)
def test_an_object_grows_to_the_value(server: tuple[str, Any], how: str, size: int):
    url, kind = server
    kind.size, kind.answers[:] = size, [called(ADA)]
    with opened(url, how) as llm:
        *parts, last = llm.stream("Who?", SHAPE)
    assert isinstance(last, Result)
    assert last.unwrap() == json.loads(ADA)
    check_parts(parts)
    assert last.raw == ADA
    names = [part.value["name"] for part in parts if part.value and "name" in part.value]
    assert all(whole.startswith(part) for part, whole in pairwise(names))
    assert (last.usage.input_tokens, last.usage.output_tokens, last.attempts) == (7, 5, 1)


class Person(BaseModel):
    name: str
    age: int


def test_items_come_before_the_answer_has_ended(server: tuple[str, Any]):
    url, kind = server
    people = [{"name": f"n{number}", "age": number} for number in range(6)]
    kind.answers[:] = [{**called(json.dumps({"value": people})), "held": 30}]
    with opened(url) as llm:
        stream = llm.stream("Who?", list[Person])
        first = next(stream)
        assert isinstance(first, Item)
        assert (first.index, first.value) == (0, Person(name="n0", age=0))
        assert not Tools.go.is_set()
        Tools.go.set()
        *items, last = stream
    assert isinstance(last, Result)
    assert [first.value, *(item.value for item in items)] == last.unwrap()
    assert len(items) == 5


def test_what_is_said_beside_the_call_is_no_part_of_it(server: tuple[str, Any]):
    url, kind = server
    kind.answers[:] = [called(ADA, said="I call it now: {}")]
    with opened(url) as llm:
        *parts, last = llm.stream("Who?", SHAPE)
    assert isinstance(last, Result)
    check_parts(parts)
    assert last.raw == ADA


@pytest.mark.parametrize("how", OPENED)
def test_text_in_place_of_a_call_is_taken(server: tuple[str, Any], how: str):
    url, kind = server
    kind.answers[:] = [completion(ADA)]
    with opened(url, how) as llm:
        events = [*llm.stream("Who?", SHAPE)]
    assert result_of(events).unwrap() == json.loads(ADA)


@pytest.mark.parametrize("fault", ["ends too early", "429", "500", "a reset"])
def test_a_fault_starts_it_anew(server: tuple[str, Any], fault: str):
    url, kind = server
    kind.answers[:] = [
        {
            "ends too early": {**called(ADA), "upto": 8},
            "429": Refusal(429, {"error": {"message": "slow"}}, {"Retry-After": "0"}),
            "500": Refusal(500, {"error": {"message": "down"}}),
            "a reset": Refusal(0),
        }[fault],
        called(ADA),
    ]
    with opened(url) as llm:
        events = [*llm.stream("Who?", SHAPE)]
    result = result_of(events)
    assert result.unwrap() == json.loads(ADA)
    assert result.attempts == 2
    (anew,) = (place for place, each in enumerate(events) if isinstance(each, StartsAnew))
    check_parts(events[anew + 1 : -1])


def test_an_answer_that_is_not_valid_is_asked_for_again(server: tuple[str, Any]):
    url, kind = server
    kind.answers[:] = [called('{"name": 3, "tags": []}'), called(ADA)]
    with opened(url, "not strict") as llm:
        events = [*llm.stream("Who?", SHAPE)]
    assert result_of(events).unwrap() == json.loads(ADA)
    assert [type(each) for each in events].count(StartsAnew) == 1
    told = json.dumps(kind.asked[1].body["messages"])
    assert "$.name" in told


def test_an_answer_that_is_cut_is_there_in_part(server: tuple[str, Any]):
    url, kind = server
    kind.answers[:] = [called(ADA[:26], finish="length")] * 3
    with opened(url) as llm:
        error = result_of([*llm.stream("Who?", SHAPE)]).error
    assert isinstance(error, Truncated)
    assert error.partial["name"] == "Ada é😀"


@pytest.mark.parametrize(
    ("answer", "kind_of_error"),
    [(called(ADA, ADA), EngineError), (called("{}"), Invalid), (called("no JSON"), Invalid)],
)
def test_a_call_that_cannot_be_read_is_an_error(
    server: tuple[str, Any], answer: dict[str, Any], kind_of_error: type[Exception]
):
    url, kind = server
    kind.answers[:] = [answer] * 3
    with opened(url, "not strict") as llm:
        error = result_of([*llm.stream("Who?", SHAPE)]).error
    assert type(error) is kind_of_error


@pytest.mark.parametrize("make", [openai.OpenAI, openai.AsyncOpenAI])
def test_a_callers_own_client_streams_calls_too(server: tuple[str, Any], make: Any):
    url, kind = server
    kind.answers[:] = [called(ADA)]
    client = make(api_key="k", base_url=url)
    with LLM("openai:gpt-4", engine_args={"client": client}) as llm:
        *parts, last = llm.stream("Who?", SHAPE)
    assert isinstance(last, Result)
    assert last.unwrap() == json.loads(ADA)
    check_parts(parts)


async def test_who_stops_reading_ends_the_call(server: tuple[str, Any]):
    url, kind = server
    kind.answers[:] = [{**called(ADA), "held": 8}, called(ADA)]
    async with opened(url) as llm:
        stream = llm.astream("Who?", SHAPE)
        assert isinstance(await anext(stream), Partial)
        await stream.aclose()
        Tools.go.set()
        assert [event async for event in llm.astream("Who?", SHAPE)][-1].unwrap()
