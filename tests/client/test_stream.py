"""What is shown of an answer while it comes, and that it comes to the same as without that."""

from __future__ import annotations

import asyncio
import codecs
import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import hypothesis.strategies as st
import pytest
from pydantic import BaseModel, Field

from tests.constraints.specs import Case, canonical, drawn
from typedllm import LLM, EngineError, Invalid, JsonSchema, Scripted, UsageError
from typedllm.attempts import Policy
from typedllm.client.stream import StartsAnew
from typedllm.constraints.compile import compile_spec
from typedllm.constraints.dialect import Lowered
from typedllm.errors import SpecError, TypedLLMError
from typedllm.output.streamed import Item, Partial
from typedllm.records import Completion, Failure, Reply, Request, Result, Sampling, Traits, Usage
from typedllm.spec.items import items_of
from typedllm.spec.spec import spec_of

ASKED = Traits(name="asked", takes=frozenset(), ending="may be cut", logprobs=False)
STRICT = Traits(
    name="strict",
    takes=frozenset({JsonSchema}),
    ending="may be cut",
    logprobs=False,
    dialect="openai",
)
NUMBERS = JsonSchema(
    {"type": "array", "items": {"$ref": "#/$defs/n"}, "$defs": {"n": {"type": "integer"}}}
)
QUICK = Policy(attempts=3, multiplier_s=0, min_wait_s=0, max_wait_s=0)


@dataclass
class ByteByByte:
    """Gives replies, each told in pieces that are cut at every byte."""

    replies: Sequence[str | Completion | Broken]
    traits: Traits = ASKED
    model: str = "m"
    capacity: int = 4
    requests: list[Request] = field(default_factory=list)

    async def send(self, request: Request) -> Reply:
        reply = self.replies[len(self.requests) % len(self.replies)]
        self.requests.append(request)
        text = reply if isinstance(reply, str) else reply.text
        decoder = codecs.getincrementaldecoder("utf-8")("surrogatepass")
        for byte in text.encode("utf-8", "surrogatepass"):
            piece = decoder.decode(bytes([byte]))
            if request.tell is not None and piece:
                request.tell(piece)
                for _ in range(3):  # turns of the event loop until it is shown
                    await asyncio.sleep(0)
        if isinstance(reply, Completion):
            return reply
        if isinstance(reply, Broken):
            return Failure(error=EngineError("the line broke", retryable=True))
        usage = Usage(input_tokens=2, output_tokens=len(text))
        return Completion(text=text, finish_reason="stop", usage=usage)

    async def close(self) -> None: ...


@dataclass
class Broken:
    """A reply that breaks after part of it."""

    text: str


def shown(events: Sequence[object]) -> list[Any]:
    """What is shown since the answer was last begun."""
    begun = [at for at, event in enumerate(events) if isinstance(event, StartsAnew)]
    return list(events[begun[-1] + 1 if begun else 0 : -1])


def same(one: Result[Any], other: Result[Any]) -> bool:
    plain = replace(one, latency_s=0, error=None), replace(other, latency_s=0, error=None)
    return plain[0] == plain[1] and repr(one.error) == repr(other.error)


def begins(part: Any, whole: Any) -> bool:
    """Whether a plain value is the beginning of another one."""
    if isinstance(part, str) and isinstance(whole, str):
        return whole.startswith(part)
    if isinstance(part, dict) and isinstance(whole, dict):
        return all(key in whole and begins(value, whole[key]) for key, value in part.items())
    if isinstance(part, list) and isinstance(whole, list):
        pairs = zip(part, whole, strict=False)
        return len(part) <= len(whole) and all(begins(one, other) for one, other in pairs)
    return part == whole and type(part) is type(whole)


@pytest.mark.slow
@pytest.mark.parametrize("traits", [ASKED, STRICT], ids=["asked", "strict"])
@pytest.mark.parametrize("seed", range(5))
def test_streaming_is_the_call_on_drawn_types_cut_at_every_byte(traits: Traits, seed: int):
    count = 0

    def body(case: Case, data: st.DataObject) -> None:
        nonlocal count
        spec = spec_of(case.type)
        try:
            constraint = compile_spec(spec, traits).constraint
        except SpecError:
            return
        value = data.draw(case.values)
        if spec.schema is None:
            text = value if isinstance(value, str) else canonical(value)
        elif isinstance(constraint, Lowered):
            text = json.dumps(constraint.encode(value), ensure_ascii=data.draw(st.booleans()))
        else:
            text = canonical(value)
        engine = ByteByByte([text], traits=traits)
        *events, result = collected(LLM(engine), case.type)
        once = LLM(ByteByByte([text], traits=traits)).run("x", case.type)
        assert isinstance(result, Result)
        assert same(result, once)
        assert result.ok, result.error
        count += 1
        items = items_of(spec)
        if items is not None:
            assert [event.index for event in events] == list(range(len(result.value)))
            assert [event.value for event in events] == list(result.value)
            return
        assert all(isinstance(event, Partial) for event in events)
        parts = [event.value for event in events]
        if spec.schema is None:
            assert "".join(event.piece for event in events) == text
            assert (parts[-1] if parts else "") == text
            return
        plain = json.loads(text)
        if isinstance(constraint, Lowered):
            plain = constraint.decoded(plain)
        assert all(begins(part, plain) for part in parts)
        if isinstance(plain, dict | list | str) and not isinstance(constraint, Lowered):
            assert parts[-1] == plain  # nulls and all

    drawn(seed, 55, body)
    assert count >= 50


class Person(BaseModel):
    name: str
    age: int | None = None
    tags: list[str] = Field(default=[], max_length=3)


def stream(replies: Sequence[object], output_type: Any, traits: Traits = ASKED, **options: Any):
    llm = LLM(ByteByByte(replies, traits=traits), policy=options.pop("policy", QUICK))
    return collected(llm, output_type, **options)


def collected(llm: LLM, output_type: Any, **options: Any) -> list[Any]:
    """All that is shown, on one event loop, so that every piece is."""

    async def collect() -> list[Any]:
        return [event async for event in llm.astream("x", output_type, **options)]

    return asyncio.run(collect())


def test_strings_grow_and_other_scalars_come_whole():
    *events, result = stream(['{"name":"Ada","age":36,"tags":["é"]}'], Person)
    assert [event.value for event in events] == [
        {},
        {"name": ""},
        {"name": "A"},
        {"name": "Ad"},
        {"name": "Ada"},
        {"name": "Ada", "age": 36},
        {"name": "Ada", "age": 36, "tags": []},
        {"name": "Ada", "age": 36, "tags": [""]},
        {"name": "Ada", "age": 36, "tags": ["é"]},
    ]
    assert "".join(event.piece for event in events) == '{"name":"Ada","age":36,"tags":["é'
    assert result.value == Person(name="Ada", age=36, tags=["é"])


def test_nulls_are_shown_and_stay():
    *events, result = stream(['{"name":"A","age":null,"tags":[]}'], Person)
    assert events[-1].value == {"name": "A", "age": None, "tags": []}
    assert result.value == Person(name="A")


def test_text_is_shown_as_it_comes():
    *events, result = stream(["Hello, wörld"], None)
    assert [event.value for event in events] == ["Hello, wörld"[:size] for size in range(1, 13)]
    assert result.value == "Hello, wörld"


def test_thinking_is_not_shown():
    *events, result = stream(['<think>{"name": "no"}</think>{"name":"A"}'], Person)
    assert [event.value for event in events] == [{}, {"name": ""}, {"name": "A"}]
    assert result.value == Person(name="A")
    *events, result = stream(["<b>"], None)
    assert events[-1].value == result.value == "<b>"


def test_what_stands_before_the_answer_is_passed_over():
    *events, result = stream(['Sure!\n```json\n{"name":"A"}\n```'], Person)
    assert [event.value for event in events][:3] == [{}, {"name": ""}, {"name": "A"}]
    assert result.value == Person(name="A")


@pytest.mark.parametrize(
    ("output_type", "text", "values"),
    [
        ([{"n": "str"}], '[{"n":"a]\\",["},{"n":"\\\\"}]', [{"n": 'a]",['}, {"n": "\\"}]),
        (list[int], "[1, 23,456]", [1, 23, 456]),
        (list[list[int]], "[[1,2],[],[3]]", [[1, 2], [], [3]]),
        ([{"sku": "str"}], '[{"sku":"a"},{"sku":"b"}]', [{"sku": "a"}, {"sku": "b"}]),
        ("list[str]", '["x, y","é"]', ["x, y", "é"]),
        (tuple[int, ...], "[1,2]", [1, 2]),
        (NUMBERS, "[7,8]", [7, 8]),
        (list[int], "[]", []),
    ],
)  # fmt: skip
def test_items_of_a_list_come_one_by_one(output_type: Any, text: str, values: list[Any]):
    for traits, sent in ((ASKED, text), (STRICT, f'{{"value":{text}}}')):
        *events, result = stream([sent], output_type, traits)
        assert [(event.index, event.value) for event in events] == list(enumerate(values))
        assert list(result.value) == values


async def test_an_item_is_shown_before_the_next_one_is_there():
    going_on = asyncio.Event()

    class Slow(ByteByByte):
        async def send(self, request: Request) -> Reply:
            assert request.tell is not None
            request.tell('[{"name":"a"}')
            request.tell(',{"name"')
            await going_on.wait()
            request.tell(':"b"}]')
            return Completion(
                text='[{"name":"a"},{"name":"b"}]', finish_reason="stop", usage=Usage()
            )

    events = LLM(Slow([])).astream("x", list[Person])
    assert await anext(events) == Item(index=0, value=Person(name="a"))
    going_on.set()
    assert await anext(events) == Item(index=1, value=Person(name="b"))
    assert isinstance(await anext(events), Result)


@pytest.mark.parametrize(
    ("output_type", "text"), [(Person, '{"name":"Ada"}'), (list[int], "[1,2,3]"), (None, "Hello")]
)
def test_a_retry_says_that_it_starts_anew(output_type: Any, text: str):
    *events, result = stream([Broken(text[:5]), text], output_type)
    (anew,) = [event for event in events if isinstance(event, StartsAnew)]
    assert isinstance(anew.because, EngineError)
    once = stream([text], output_type)
    assert shown([*events, result]) == once[:-1]
    assert result.value == once[-1].value
    assert result.attempts == 2


def test_an_answer_that_is_asked_for_anew_as_a_whole_starts_anew():
    *events, result = stream(['{"name":7}', '{"name":"Ada"}'], Person)
    (anew,) = [event for event in events if isinstance(event, StartsAnew)]
    assert isinstance(anew.because, Invalid)
    assert shown([*events, result])[-1].value == {"name": "Ada"}


def test_a_bad_item_that_is_asked_for_anew_is_shown_at_the_end():
    *events, result = stream(
        ['[{"name":"a"},{"name":7},{"name":"c"}]', '{"part1":{"name":"b"}}'], list[Person]
    )
    assert [event.index for event in events] == [0, 2, 1]
    assert [person.name for person in result.value] == ["a", "b", "c"]
    assert events[2].value == Person(name="b")


def test_items_that_the_whole_answer_does_not_have_start_anew():
    text = 'Like [1, 2]? No: {"value": [4]}'
    *events, result = stream([text, "[4]"], list[int], policy=Policy(repairs=0))
    assert result.ok == any(isinstance(event, StartsAnew) for event in events) or not result.ok
    if result.ok:
        assert [event.value for event in shown([*events, result])] == result.value


def test_another_engine_starts_anew():
    first = ByteByByte([Broken('{"name":"A')])
    second = ByteByByte(['{"name":"Bo"}'], traits=STRICT)
    policy = Policy(attempts=1)
    *events, result = collected(LLM(first, fallback=[second], policy=policy), Person)
    (anew,) = [event for event in events if isinstance(event, StartsAnew)]
    assert "the line broke" in str(anew.because)
    assert shown([*events, result])[-1].value["name"] == "Bo"
    assert result.model == "strict:m"


def test_an_error_is_in_the_result_which_is_the_last_thing():
    *_, result = stream(['{"name":7}'], Person, policy=Policy(repairs=0))
    assert isinstance(result.error, Invalid)
    cut = Completion(text='{"name":"Ad', finish_reason="length", usage=Usage(output_tokens=3))
    *_, result = stream([cut], Person, sampling=Sampling(max_tokens=20_000))
    assert result.error.partial == {"name": "Ad"}
    assert result.error.path == "$.name"


def test_an_engine_that_tells_nothing_shows_its_answer_at_the_end():
    class Silent(ByteByByte):
        async def send(self, request: Request) -> Reply:
            return await super().send(replace(request, tell=None))

    *events, result = LLM(Silent(['{"name":"Ada"}'])).stream("x", Person)
    assert [event.value for event in events] == [{"name": "Ada"}]
    *events, result = LLM(Silent(["[1,2]"])).stream("x", list[int])
    assert [event.value for event in events] == result.value == [1, 2]


def test_bad_input_is_an_error_before_any_call():
    engine = ByteByByte([])
    with pytest.raises(UsageError, match="stream takes no keyword 'temperature'"):
        LLM(engine).stream("x", int, temperature=1)  # type: ignore[call-arg]
    with pytest.raises(TypedLLMError):
        LLM(engine).stream("x", {"age": "integr"})
    assert engine.requests == []


async def test_closing_the_stream_gives_the_call_up():
    given_up = asyncio.Event()

    class Endless(ByteByByte):
        async def send(self, request: Request) -> Reply:
            assert request.tell is not None
            request.tell('{"name":"a')
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                given_up.set()
                raise
            raise AssertionError

    events = LLM(Endless([])).astream("x", Person)
    assert isinstance(await anext(events), Partial)
    await events.aclose()
    assert given_up.is_set()


def test_the_packaged_model_streams():
    with LLM() as llm:
        *events, result = llm.stream("Ann Lee is 31.", {"name": "str", "age": "int"})
        assert result.value == llm.call("Ann Lee is 31.", {"name": "str", "age": "int"})
        assert begins(events[-1].value, result.value)
        assert len(events) > 3


def test_a_scripted_answer_streams():
    llm = LLM(Scripted([{"name": "Ada"}], traits=ASKED))
    *events, result = llm.stream("x", Person)
    assert events[-1].value == {"name": "Ada"}
    assert result.value == Person(name="Ada")


def test_an_object_of_which_parts_were_asked_for_anew_is_shown_whole_at_the_end():
    first = '{"name":"Ada","age":"old","tags":["x"]}'
    *events, result = stream([first, '{"part1":36}'], Person)
    assert events[-2].value == {"name": "Ada", "age": "old", "tags": ["x"]}
    assert events[-1].value == {"name": "Ada", "age": 36, "tags": ["x"]}
    assert result.value == Person(name="Ada", age=36, tags=["x"])


def test_items_that_equal_nothing_are_shown_once():
    *events, result = stream(["[1.5, NaN]"], list[float], policy=Policy(repairs=0))
    assert len(events) <= 2 and result is not None

    class Odd(BaseModel):  # noqa: PLW1641 - nobody hashes it
        n: int

        def __eq__(self, other: object) -> bool:
            return False

    *events, result = stream(['[{"n":1},{"n":2}]'], list[Odd])
    assert [event.index for event in events] == [0, 1]
    assert result.ok


def test_a_scalar_is_shown_when_it_is_complete():
    *events, result = stream(["12"], int)
    assert [event.value for event in events] == [12]
    assert result.value == 12
