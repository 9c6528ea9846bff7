"""What every engine promises, as tests: a class for all engines, and one for those that guide.

To test an engine, subclass the one that fits, and give it the fixture `make_engine`.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import ClassVar, TypeAlias

import pytest
from pydantic import BaseModel, Field

from typedllm import LLM
from typedllm.engines.base import Engine
from typedllm.engines.table import traits_of
from typedllm.errors import (
    BudgetTooSmall,
    EngineError,
    PromptTooLong,
    TypedLLMError,
    UnsupportedConstraint,
    UsageError,
)
from typedllm.grammar.tree import Array, Literals, Member, Object, Text
from typedllm.records import (
    Completion,
    Constraint,
    Failure,
    Grammar,
    JsonSchema,
    Lark,
    Request,
    Sampling,
    Segment,
)

MakeEngine: TypeAlias = Callable[[], Engine]

ORDER = Grammar(
    Object(
        members=(
            Member("note", Text()),
            Member("tags", Array(item=Text(max_length=5))),
            Member("paid", Literals(("true", "false"))),
        )
    )
)
COLOUR = Grammar(Literals(('"red"', '"green"', '"greenish"', '"blue"')))
WORDS = Lark("start: /[a-z]{2,9}( [a-z]{2,9}){3}/")


class Person(BaseModel):
    """An output type with a bit of everything."""

    name: str = Field(max_length=12)
    age: int = Field(ge=0, le=120)
    tags: list[str] = Field(max_length=3)
    manager: bool | None = None


def ask(text: str, constraint: Constraint | None = None, sampling: Sampling | None = None):
    return Request(
        prompt=(Segment(text=text),),
        constraint=constraint,
        sampling=sampling or Sampling(max_tokens=60),
    )


async def complete(engine: Engine, *requests: Request) -> list[Completion]:
    replies = await asyncio.gather(*map(engine.send, requests))
    assert all(isinstance(reply, Completion) for reply in replies), replies
    return [reply for reply in replies if isinstance(reply, Completion)]


async def error_of(engine: Engine, request: Request) -> TypedLLMError:
    reply = await engine.send(request)
    assert isinstance(reply, Failure)
    return reply.error


class EngineContract:
    """For every engine that answers with values of the type that is asked for.

    Attributes:
        streams: whether it tells of an answer before that has ended.
    """

    streams: ClassVar[bool] = True

    @pytest.fixture
    def make_engine(self) -> MakeEngine:
        raise NotImplementedError("override this fixture")

    @pytest.fixture
    def engine(self, make_engine: MakeEngine) -> Engine:
        return make_engine()

    def test_it_is_what_the_table_says(self, engine: Engine):
        assert engine.traits == traits_of(engine.traits.name)
        assert engine.capacity >= 1
        assert engine.model

    def test_a_typed_answer_is_valid(self, engine: Engine):
        result = LLM(engine, sampling=Sampling(max_tokens=200)).run("Who are you?", Person)
        assert isinstance(result.unwrap(), Person)
        assert result.usage.input_tokens > 0
        assert result.usage.output_tokens > 0

    def test_many_threads_may_ask_at_once(self, engine: Engine):
        llm = LLM(engine, sampling=Sampling(max_tokens=80))
        with ThreadPoolExecutor(8) as threads:
            found = list(threads.map(lambda number: llm.call(f"{number}?", Person), range(24)))
        assert all(isinstance(value, Person) for value in found)

    def test_a_batch_keeps_the_order_and_every_row(self, engine: Engine):
        results = LLM(engine).batch([f"Row {number}" for number in range(70)], ["red", "green"])
        assert [result.id for result in results] == [str(number) for number in range(70)]
        assert all(result.unwrap() in ("red", "green") for result in results)

    async def test_a_failure_is_returned(self, engine: Engine):
        error = await error_of(engine, ask("x", JsonSchema({"type": "integer"})))
        assert isinstance(error, UnsupportedConstraint | EngineError)

    async def test_who_gives_up_holds_nobody_up(self, engine: Engine):
        given_up = [asyncio.ensure_future(engine.send(ask(f"{n}", ORDER))) for n in range(5)]
        kept = asyncio.ensure_future(engine.send(ask("kept", COLOUR)))
        await asyncio.sleep(0)
        for task in given_up:
            task.cancel()
        outcomes = await asyncio.gather(*given_up, return_exceptions=True)
        assert all(isinstance(outcome, asyncio.CancelledError) for outcome in outcomes)
        assert isinstance(await kept, Completion)
        await complete(engine, ask("and then", COLOUR))

    async def test_what_is_told_is_the_text(self, engine: Engine):
        self.needs_streams()
        pieces: list[list[str]] = [[] for _ in range(12)]
        told = [replace(ask(f"{n}", ORDER), tell=each.append) for n, each in enumerate(pieces)]
        found = await complete(engine, *told, *(ask(f"Row {n}", ORDER) for n in range(12)))
        for each, reply in zip(pieces, found, strict=False):
            assert "".join(each) == reply.text
            assert len(each) > 1

    async def test_who_stops_listening_holds_nobody_up(self, engine: Engine):
        self.needs_streams()
        loop = asyncio.get_running_loop()

        async def listen_once(number: int) -> None:
            heard = asyncio.Event()
            request = replace(
                ask(f"{number}", ORDER), tell=lambda _: loop.call_soon_threadsafe(heard.set)
            )
            task = asyncio.ensure_future(engine.send(request))
            await asyncio.wait_for(heard.wait(), 50)
            task.cancel()
            await asyncio.wait([task])

        kept = asyncio.ensure_future(engine.send(ask("kept", ORDER)))
        await asyncio.gather(*map(listen_once, range(5)))
        assert isinstance(await kept, Completion)
        await complete(engine, ask("and then", COLOUR))

    def needs_streams(self) -> None:
        if not self.streams:
            pytest.skip("it tells of no answer before that has ended")


class GuidedContract(EngineContract):
    """For engines that land; over a model whose context is at most 2,000."""

    lands_at = (25, 33, 60)  # tokens; a model that was trained may be done before

    @pytest.mark.parametrize("budget", [25, 33, 60])
    async def test_it_lands_in_its_budget_on_a_valid_value(self, engine: Engine, budget: int):
        requests = [
            ask(f"Order {number}", ORDER, Sampling(temperature=2.0, seed=number, max_tokens=budget))
            for number in range(20)
        ]
        found = await complete(engine, *requests)
        assert "landing" in {each.finish_reason for each in found} or budget not in self.lands_at
        for each in found:
            value = json.loads(each.text)
            assert list(value) == ["note", "tags", "paid"]
            assert each.tokens is not None
            assert len(each.tokens) == each.usage.output_tokens <= budget
            assert (each.landed_at is None) == (each.finish_reason != "landing")
            assert 0 <= (each.landed_at or 0) <= len(each.text)

    async def test_the_tokens_are_the_text_and_their_probabilities(self, engine: Engine):
        warm = Sampling(temperature=1.5, seed=1, max_tokens=60)
        (found, plain) = await complete(engine, ask("Colour?", COLOUR, warm), ask("Well", None))
        for each in (found, plain):
            assert each.tokens
            text = b"".join(token.text for token in each.tokens).decode(errors="replace")
            assert text.startswith(each.text)  # but for a character that is cut at the end
            assert len(text) - len(each.text) <= 1
            assert all(token.logprob <= 0 for token in each.tokens)
        assert found.tokens
        assert any(token.logprob < 0 for token in found.tokens)
        (forced,) = await complete(engine, ask("Say it", Grammar(Literals(('"certainly"',)))))
        assert forced.tokens
        assert {token.logprob for token in forced.tokens} == {0.0}

    async def test_a_row_is_the_same_alone_and_in_company(self, engine: Engine):
        requests = [
            ask("One", ORDER),
            ask("Two, and a longer prompt than the others", COLOUR),
            ask("Three", WORDS, Sampling(max_tokens=9)),
            ask("Four", None, Sampling(max_tokens=7)),
            ask("Five", ORDER, Sampling(temperature=1.2, top_p=0.8, seed=5, max_tokens=40)),
            ask("Six", None, Sampling(temperature=0.7, seed=6, max_tokens=20)),
        ]
        together = await complete(engine, *requests)
        alone = [(await complete(engine, request))[0] for request in requests]
        assert [each.text for each in together] == [each.text for each in alone]
        assert [each.usage for each in together] == [each.usage for each in alone]
        assert [each.finish_reason for each in together] == [each.finish_reason for each in alone]

    async def test_a_seed_repeats_and_its_absence_does_not(self, engine: Engine):
        def warm(seed: int | None) -> Request:
            return ask("Go", None, Sampling(temperature=1.5, seed=seed, max_tokens=12))

        one, again, other = await complete(engine, warm(1), warm(1), warm(2))
        assert one.text == again.text != other.text
        assert len({each.text for each in await complete(engine, warm(None), warm(None))}) == 2

    async def test_plain_text_ends_before_a_stop_text_or_at_its_length(self, engine: Engine):
        (free,) = await complete(engine, ask("Hello", None, Sampling(max_tokens=30)))
        assert free.usage.output_tokens <= 30
        stop = free.text[3:5]
        cut, short = await complete(
            engine,
            ask("Hello", None, Sampling(max_tokens=30, stop=(stop,))),
            ask("Hello", None, Sampling(max_tokens=4)),
        )
        assert cut.text == free.text[: free.text.index(stop)]
        assert cut.finish_reason == "stop"
        assert short.finish_reason == "length"
        assert short.usage.output_tokens == 4

    async def test_who_listens_changes_nothing(self, engine: Engine):
        (free,) = await complete(engine, ask("Hello", None, Sampling(max_tokens=30)))
        requests = [
            ask("One", ORDER),
            ask("Two", ORDER, Sampling(temperature=2.0, seed=1, max_tokens=25)),
            ask("Three", WORDS, Sampling(max_tokens=9)),
            ask("Four", Grammar(Literals(('"certainly"',)))),
            ask("Hello", None, Sampling(max_tokens=30)),
            ask("Hello", None, Sampling(max_tokens=30, stop=(free.text[3:6], "not there"))),
        ]
        pieces: list[list[str]] = [[] for _ in requests]
        listened = [
            replace(request, tell=each.append)
            for request, each in zip(requests, pieces, strict=True)
        ]
        found = await complete(engine, *requests, *listened)
        quiet, told = found[: len(requests)], found[len(requests) :]
        assert ["".join(each) for each in pieces] == [each.text for each in told]
        for name in ("text", "finish_reason", "usage", "landed_at"):
            assert [getattr(each, name) for each in told] == [getattr(each, name) for each in quiet]

    async def test_what_a_listener_raises_harms_nobody(self, engine: Engine):
        def fail(piece: str) -> None:
            raise ValueError(piece)

        await complete(engine, replace(ask("One", ORDER), tell=fail), ask("Two", ORDER))

    async def test_an_answer_that_is_given_up_is_told_no_further(self, engine: Engine):
        loop, cancelled, pieces = asyncio.get_running_loop(), threading.Event(), list[str]()

        def tell(piece: str) -> None:
            pieces.append(piece)
            loop.call_soon_threadsafe(task.cancel)
            cancelled.wait(20)

        request = ask("On and on", ORDER, Sampling(temperature=2.0, seed=1, max_tokens=400))
        task = asyncio.ensure_future(engine.send(replace(request, tell=tell)))
        await asyncio.wait([task])
        cancelled.set()
        assert task.cancelled()
        await complete(engine, ask("and then", COLOUR))
        assert 1 <= len(pieces) <= 2

    async def test_scores_of_labels_tell_nothing(self, engine: Engine):
        pieces: list[str] = []
        request = Request(prompt=(Segment(text="x"),), labels=("a", "b"), tell=pieces.append)
        (found,) = await complete(engine, request)
        assert len(found.scores) == 2
        assert pieces == []

    async def test_a_prompt_that_is_too_long_fails_alone(self, engine: Engine):
        long, short = await asyncio.gather(
            engine.send(ask("word " * 2000, COLOUR)), engine.send(ask("word", COLOUR))
        )
        assert isinstance(long, Failure)
        assert isinstance(long.error, PromptTooLong)
        assert isinstance(short, Completion)

    async def test_a_budget_below_the_least_answer_is_refused(self, engine: Engine):
        error = await error_of(engine, ask("x", ORDER, Sampling(max_tokens=3)))
        assert isinstance(error, BudgetTooSmall)
        assert "max_tokens is 3" in str(error)

    async def test_a_broken_grammar_and_an_unknown_option_are_refused(self, engine: Engine):
        error = await error_of(engine, ask("x", Lark("start: nowhere")))
        assert isinstance(error, UnsupportedConstraint)
        error = await error_of(engine, ask("x", None, Sampling(extra={"beams": 3})))
        assert isinstance(error, UsageError)
        assert "beams" in str(error)

    async def test_a_value_cannot_bring_a_special_token(self, engine: Engine):
        def counted(trusted: bool) -> Request:
            return Request(
                prompt=(Segment(text="Read: <|end|>", trusted=trusted),), constraint=COLOUR
            )

        own, value = await complete(engine, counted(True), counted(False))
        assert value.usage.input_tokens > own.usage.input_tokens

    async def test_after_closing_it_refuses(self, make_engine: MakeEngine):
        engine = make_engine()
        await complete(engine, ask("x", COLOUR))
        await engine.close()
        await engine.close()
        error = await error_of(engine, ask("x", COLOUR))
        assert isinstance(error, EngineError)
        assert "closed" in str(error)
