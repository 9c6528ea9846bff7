"""An answer that was cut on an engine that cannot close it in time is asked once more, shorter."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from typedllm.attempts import Policy, Task, attempts, drive
from typedllm.constraints.compile import compile_spec
from typedllm.constraints.fitting import fitted
from typedllm.engines.scripted import TRAITS, Scripted
from typedllm.errors import EngineError, Invalid, Truncated
from typedllm.grammar.expression import expression
from typedllm.grammar.regular import matches
from typedllm.grammar.sizes import longest
from typedllm.records import (
    Completion,
    FinishReason,
    Grammar,
    Message,
    Request,
    Result,
    Sampling,
    Segment,
    Usage,
)
from typedllm.spec.kinds import Choice, Regex
from typedllm.spec.spec import spec_of

FITTED = replace(TRAITS, name="a server", ending="fitted")
MESSAGES = (Message(role="user", content=(Segment(text="Tell a story."),)),)
STORY = {"title": "str", "words": "list[str]"}
CUT = '{"title":"' + "long " * 60


def answer(text: str, finish_reason: FinishReason = "stop", tokens: int = 300) -> Completion:
    usage = Usage(input_tokens=10, output_tokens=tokens)
    return Completion(text=text, finish_reason=finish_reason, usage=usage)


def at_the_limit(request: Request) -> Completion:
    """An answer whose title is as long as it may be."""
    assert isinstance(request.constraint, Grammar)
    expr = expression(request.constraint.root)
    texts = ('{"title":"' + "x" * size + '","words":[]}' for size in range(300, 0, -1))
    return answer(next(text for text in texts if matches(expr, text)), tokens=70)


async def play(
    replies: list[object],
    output_type: Any = STORY,
    *,
    max_tokens: int | None = 300,
    guaranteed: bool | None = None,
    policy: Policy | None = None,
) -> tuple[Result[Any], list[Request], Grammar]:
    """Run a call on an engine that gives these replies, a function being one of the request."""
    turns = iter(replies)

    def reply(request: Request) -> object:
        found = next(turns)
        return found(request) if isinstance(found, Callable) else found

    engine = Scripted(reply, traits=FITTED)
    spec = spec_of(output_type)
    compiled = compile_spec(spec, FITTED)
    assert isinstance(compiled.constraint, Grammar)
    task = Task(
        engine=engine,
        spec=spec,
        constraint=compiled.constraint,
        guaranteed=compiled.plan.guaranteed if guaranteed is None else guaranteed,
        sampling=Sampling(max_tokens=max_tokens),
        policy=policy or Policy(repairs=1, min_wait_s=0, multiplier_s=0),
    )
    result = await drive(attempts(task, MESSAGES))
    assert result.attempts == len(engine.requests)
    return result, engine.requests, compiled.constraint


def most_bytes(request: Request) -> int | None:
    assert isinstance(request.constraint, Grammar)
    return longest(expression(request.constraint.root))


async def test_a_cut_answer_is_asked_once_more_under_fitted_limits():
    result, sent, full = await play([answer(CUT, "length"), at_the_limit])
    title = result.unwrap()["title"]
    assert (result.attempts, result.finish_reason) == (2, "stop")
    assert result.usage == Usage(input_tokens=20, output_tokens=370)
    assert result.clipped == ("$.title",)
    assert sent[0].constraint is full and most_bytes(sent[0]) is None
    most = most_bytes(sent[1])
    assert most is not None and 200 < most <= 300
    assert 10 < len(title) < 60
    assert sent[1].prompt == sent[0].prompt and sent[1].sampling == sent[0].sampling


async def test_nothing_is_clipped_where_the_second_answer_is_short():
    result, _, _ = await play([answer(CUT, "length"), {"title": "It", "words": []}])
    assert result.unwrap() == {"title": "It", "words": []}
    assert result.clipped == ()


@pytest.mark.parametrize(
    ("max_tokens", "used", "budget"),
    [
        (300, 300, 300),
        (None, 300, 256),
        (1000, 300, 256),  # cut where the model can read no more
        (300, 0, 300),  # not every server counts
        (None, 256, 256),
    ],
)
async def test_the_budget_is_what_the_answer_had(max_tokens: int | None, used: int, budget: int):
    cut = answer(CUT, "length", tokens=used)
    result, sent, full = await play([cut, at_the_limit], max_tokens=max_tokens)
    assert result.ok
    assert sent[1].constraint is fitted(full, budget)


async def test_without_a_known_budget_nothing_is_asked_again():
    result, _, _ = await play([answer(CUT, "length", tokens=0)], max_tokens=None)
    assert isinstance(result.error, Truncated)
    assert result.attempts == 1


async def test_an_answer_that_is_cut_again_is_truncated():
    result, _, _ = await play([answer(CUT, "length"), answer('{"title":"a', "length")])
    assert isinstance(result.error, Truncated)
    assert result.error.raw == '{"title":"a'
    assert (result.attempts, result.usage.output_tokens, result.clipped) == (2, 600, ())


async def test_what_cannot_be_shortened_is_named():
    kind = {"title": "str(min_length=60)"}
    result, _, _ = await play([answer(CUT, "length")], kind)
    assert isinstance(result.error, Truncated)
    assert str(result.error) == (
        "the answer was cut, and what cannot be shortened of the output type may not fit into"
        " 300 tokens; raise max_tokens to 372"
    )
    assert result.error.raw == CUT and result.error.issues
    assert result.attempts == 1
    result, _, _ = await play([answer("aaa", "length")], Regex("a+"))
    assert str(result.error).endswith("may not fit into 300 tokens; raise max_tokens")


async def test_where_the_mask_is_ours_nothing_is_asked_again():
    engine = Scripted([answer(CUT, "length"), at_the_limit])
    spec = spec_of(STORY)
    constraint = compile_spec(spec, TRAITS).constraint
    task = Task(engine=engine, spec=spec, constraint=constraint)
    result = await drive(attempts(task, MESSAGES))
    assert isinstance(result.error, Truncated)
    assert len(engine.requests) == 1


async def test_it_is_no_repair_and_a_repair_after_it_stays_fitted():
    wrong = answer('{"title":1,"words":[]}')
    replies = [answer(CUT, "length"), wrong, at_the_limit]
    result, sent, _ = await play(replies, guaranteed=False)
    assert result.ok and result.attempts == 3
    assert result.clipped == ("$.title",)
    assert sent[2].constraint is sent[1].constraint
    assert "$.title" in str(sent[2].prompt[-1])
    result, _, _ = await play([answer(CUT, "length"), wrong, wrong], guaranteed=False)
    assert isinstance(result.error, Invalid)


async def test_a_repair_that_is_cut_is_fitted_and_keeps_its_prompt():
    wrong = answer('{"title":1,"words":[]}')
    result, sent, full = await play([wrong, answer(CUT, "length"), at_the_limit], guaranteed=False)
    assert result.ok and result.attempts == 3
    assert sent[1].constraint is full and sent[2].constraint is not full
    assert sent[2].prompt == sent[1].prompt != sent[0].prompt


async def test_a_failure_of_the_service_in_between_is_tried_again():
    busy = EngineError("busy", retryable=True, retry_after_s=0)
    result, sent, _ = await play([answer(CUT, "length"), busy, at_the_limit])
    assert result.ok and result.attempts == 3
    assert sent[2].constraint is sent[1].constraint
    result, _, _ = await play([answer(CUT, "length"), EngineError("gone")])
    assert isinstance(result.error, EngineError)
    assert (result.raw, result.clipped) == (CUT, ())


@pytest.mark.parametrize(
    ("output_type", "text", "whole"),
    [
        (Regex("[ab]{3}"), "aba", True),
        (Regex("[ab]{2,3}"), "ab", False),  # perhaps of aba
        (Choice(["yes", "yes, sir", "no"]), "yes", False),
        (Choice(["yes", "yes, sir", "no"]), "no", True),
        ("int(ge=0, le=99)", "12", True),
        ("int", "12", False),
        ("list[int]", "[1]", True),
        ("bool", "true", True),
    ],
)
async def test_a_valid_answer_that_was_cut_is_whole_where_the_grammar_ends(
    output_type: Any, text: str, whole: bool
):
    result, _, _ = await play([answer(text, "length", tokens=2)], output_type, max_tokens=2)
    assert result.ok is whole
    assert whole or isinstance(result.error, Truncated)


async def test_a_valid_answer_that_might_have_gone_on_is_fitted_too():
    cut = answer("12", "length", tokens=300)
    result, sent, _ = await play([cut, answer("123")], "int")
    assert result.unwrap() == 123 and len(sent) == 2
