"""The scripted engine as a user's tests would use it."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import Any

import pytest

from typedllm import LLM, EngineError, Invalid, Sampling, Scripted, Truncated, UsageError
from typedllm.engines.scripted import TRAITS
from typedllm.records import Completion, Failure, Lark, Request, Usage


def test_replies_are_given_in_turn_as_text_or_as_json():
    llm = LLM(Scripted(["plain", '{"age":1}', {"age": 2}, None, 3.5]))
    assert llm.call("a") == "plain"
    assert llm.call("b", {"age": "int"}) == {"age": 1}
    assert llm.call("c", {"age": "int"}) == {"age": 2}
    assert llm.call("d", "int | None") is None
    assert llm.call("e", float) == 3.5
    with pytest.raises(EngineError, match="5 replies and no more"):
        llm.call("f")


def test_exceptions_are_the_engines_failure():
    llm = LLM(Scripted([EngineError("down", status=503), ValueError("odd")]))
    with pytest.raises(EngineError, match="down") as caught:
        llm.call("a")
    assert caught.value.status == 503
    with pytest.raises(EngineError, match="odd"):
        llm.call("b")


def test_a_completion_is_given_as_it_is():
    cut = Completion(text='{"a', finish_reason="length", usage=Usage(output_tokens=2))
    result = LLM(Scripted([cut])).run("x", {"a": "int"})
    assert isinstance(result.error, Truncated)
    assert result.usage.output_tokens == 2


def test_replies_may_be_a_function_sync_or_async():
    def upper(request: Request) -> object:
        return request.prompt[-1].text.upper()

    async def lower(request: Request) -> object:
        return request.prompt[-1].text.lower()

    assert LLM(Scripted(upper)).call("Ada") == "ADA"
    assert LLM(Scripted(lower)).call("Ada") == "ada"


def test_requests_are_kept():
    engine = Scripted(["x"])
    LLM(engine, system="Be brief.").call("Hello", sampling=Sampling(temperature=0.5))
    (request,) = engine.requests
    assert [(turn.role, turn.text) for turn in request.prompt] == [  # type: ignore[union-attr]
        ("system", "Be brief."),
        ("user", "Hello"),
    ]
    assert request.sampling.temperature == 0.5


@pytest.mark.parametrize(
    "output_type",
    [int, {"name": "str", "tags": "list[str]", "age": "int | None"}, ["red", "green"]],
)
def test_without_replies_answers_are_random_valid_and_repeatable(output_type: Any):
    first = LLM(Scripted(seed=3)).batch(["x"] * 30, output_type)
    assert first.ok == 30
    second = LLM(Scripted(seed=3)).batch(["x"] * 30, output_type)
    assert first.values() == second.values()


def test_random_plain_text_is_text():
    assert LLM("scripted").call("x")


def test_random_answers_need_a_grammar():
    traits = dataclasses.replace(TRAITS, takes=frozenset({Lark}))
    with pytest.raises(EngineError, match="give replies"):
        LLM(Scripted(traits=traits)).call("x", Lark("start: /a/"))


def test_an_engine_that_enforces_nothing_is_repaired():
    engine = Scripted(
        ["I am old.", "Fifty.", {"age": 50}],
        traits=dataclasses.replace(TRAITS, takes=frozenset(), ending="may be cut"),
    )
    result = LLM(engine).run("How old are you?", {"age": "int"})
    assert result.unwrap() == {"age": 50}
    assert result.attempts == 3
    assert all(request.constraint is None for request in engine.requests)


def test_replies_are_not_checked_against_the_grammar():
    with pytest.raises(Invalid):
        LLM(Scripted([{"age": "old"}] * 3)).call("x", {"age": "int"})


async def test_an_answer_is_told_in_characters_that_others_see_one_by_one():
    pieces: list[str] = []
    seen: set[int] = set()

    async def look() -> None:
        while True:
            seen.add(len(pieces))
            await asyncio.sleep(0)

    looking = asyncio.ensure_future(look())
    reply = await Scripted(["Søren 😀"]).send(Request(prompt=(), tell=pieces.append))
    looking.cancel()
    assert isinstance(reply, Completion)
    assert pieces == list(reply.text) == list("Søren 😀")
    assert seen == set(range(len(pieces) + 1))


async def test_a_failure_tells_nothing_and_a_listener_that_fails_harms_nothing():
    pieces: list[str] = []
    request = Request(prompt=(), tell=pieces.append)
    assert isinstance(await Scripted([ValueError("odd")]).send(request), Failure)
    assert pieces == []

    def fail(piece: str) -> None:
        raise ValueError(piece)

    assert isinstance(await Scripted(["x"]).send(Request(prompt=(), tell=fail)), Completion)


def test_one_text_is_no_list_of_replies():
    with pytest.raises(UsageError, match=r"\[text\]"):
        Scripted("yes")


def test_words_are_counted_as_tokens():
    usage = LLM(Scripted(["two words"])).run("three short words").usage
    assert usage == Usage(input_tokens=3, output_tokens=2)
