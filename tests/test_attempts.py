"""The policy is tested by hand, reply by reply; the driver with real engines."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from typedllm.attempts import Policy, Send, Task, attempts, classified, drive
from typedllm.engines.scripted import TRAITS, Scripted
from typedllm.errors import (
    DeadlineExceeded,
    EngineError,
    Invalid,
    PromptTooLong,
    Refused,
    Truncated,
)
from typedllm.records import (
    Completion,
    Constraint,
    Failure,
    FinishReason,
    Labels,
    Lark,
    Message,
    Reply,
    Request,
    Result,
    Segment,
    Token,
    Traits,
    Usage,
)
from typedllm.spec.kinds import Choice
from typedllm.spec.spec import spec_of

MESSAGES = (Message(role="user", content=(Segment(text="How old are you?"),)),)
GRAMMAR = Lark("start: /.*/")


class Person(BaseModel):
    name: str
    age: int


def answer(text: str, finish_reason: FinishReason = "stop", tokens: int = 3) -> Completion:
    usage = Usage(input_tokens=10, output_tokens=tokens)
    return Completion(text=text, finish_reason=finish_reason, usage=usage)


def broken(retry_after_s: float | None = None, retryable: bool = True) -> Failure:
    error = EngineError("overloaded", retryable=retryable, retry_after_s=retry_after_s)
    return Failure(error=error)


def play(
    replies: Iterable[Reply],
    output_type: Any = Person,
    *,
    policy: Policy | None = None,
    guaranteed: bool = False,
    constraint: Constraint | None = GRAMMAR,
    timeout_s: float | None = None,
    validation_context: Any = None,
) -> tuple[Result[Any], list[Send]]:
    """Play replies to the policy until it returns; the result, and what it sent."""
    task = Task(
        engine=Scripted(),
        spec=spec_of(output_type),
        constraint=constraint,
        guaranteed=guaranteed,
        policy=policy or Policy(),
        timeout_s=timeout_s,
        validation_context=validation_context,
    )
    generator = attempts(task, MESSAGES)
    sent = [next(generator)]
    for reply in replies:
        try:
            sent.append(generator.send(reply))
        except StopIteration as stop:
            return stop.value, sent
    raise AssertionError(f"it wants to send more: {sent[-1]}")


ADA = '{"name":"Ada","age":36}'


def test_one_valid_answer_is_the_result():
    result, sent = play([answer(ADA)])
    assert result.unwrap() == Person(name="Ada", age=36)
    assert len(sent) == result.attempts == 1
    assert (result.raw, result.finish_reason) == (ADA, "stop")
    assert result.usage == Usage(input_tokens=10, output_tokens=3)
    assert sent[0].request.prompt == MESSAGES
    assert sent[0].request.constraint is GRAMMAR
    assert sent[0].after_s == 0 and sent[0].timeout_s is None


def test_waits_double_from_four_seconds_to_three_hundred_and_end_after_ten_failures():
    result, sent = play([broken()] * 10)
    assert [send.after_s for send in sent] == [0, 4, 4, 4, 8, 16, 32, 64, 128, 256]
    assert isinstance(result.error, EngineError)
    assert result.attempts == 10
    _, sent = play([broken()] * 12, policy=Policy(attempts=12))
    assert sent[-1].after_s == 300


def test_what_the_service_asks_for_goes_before_the_policys_waits():
    result, sent = play([broken(0.5), broken(), answer(ADA)])
    assert [send.after_s for send in sent] == [0, 0.5, 4]
    assert result.ok and result.attempts == 3


@pytest.mark.parametrize("failure", [broken(retryable=False), Failure(error=PromptTooLong("long"))])
def test_what_will_not_pass_later_is_not_sent_again(failure: Failure):
    result, sent = play([failure])
    assert result.error is failure.error
    assert len(sent) == 1


def test_a_repair_names_the_issues_and_carries_the_last_answer_only():
    wrong = ['{"name":"Ada","age":"old"}', '{"name":"Ada","age":"thirty"}']
    result, sent = play([answer(wrong[0]), answer(wrong[1]), answer(ADA)])
    assert result.unwrap().age == 36
    assert result.attempts == 3
    assert result.usage == Usage(input_tokens=30, output_tokens=9)
    for text, send in zip(wrong, sent[1:], strict=True):
        turns = send.request.prompt
        assert turns[:-2] == MESSAGES
        assert turns[-2] == Message(role="assistant", content=(Segment(text=text),))
        asked = turns[-1]
        assert isinstance(asked, Message) and asked.role == "user"
        assert "- $.age: expected int" in asked.text
        issue = [segment for segment in asked.content if "$.age" in segment.text]
        assert [segment.trusted for segment in issue] == [False]
        assert send.request.constraint is GRAMMAR


def test_repairs_end_after_two_and_are_counted_apart_from_retries():
    bad = answer('{"name":"Ada"}')
    result, sent = play([broken(0.1), bad, broken(0.2), bad, broken(0.3), bad])
    assert isinstance(result.error, Invalid)
    assert [send.after_s for send in sent] == [0, 0.1, 0, 0.2, 0, 0.3]
    assert result.attempts == 6
    assert result.raw == bad.text


def test_nothing_is_repaired_where_every_answer_is_valid_by_construction():
    result, _ = play([answer("{}")], guaranteed=True)
    assert isinstance(result.error, Invalid)


def test_the_raw_text_of_an_earlier_answer_stays_when_the_service_fails_later():
    result, _ = play([answer("{}"), broken(retryable=False)])
    assert isinstance(result.error, EngineError)
    assert (result.raw, result.attempts) == ("{}", 2)


def test_a_cut_answer_is_truncated_not_repaired():
    result, _ = play([answer('{"name":"Ada","a', "length", tokens=7)])
    error = result.error
    assert isinstance(error, Truncated)
    assert "after 7 tokens" in str(error) and "max_tokens" in str(error)
    assert error.raw == '{"name":"Ada","a'
    assert error.partial == {"name": "Ada"}
    assert error.issues


@pytest.mark.parametrize(
    ("text", "output_type", "constraint", "whole"),
    [
        (ADA, Person, GRAMMAR, True),
        ("12", int, GRAMMAR, False),  # perhaps of 123
        ("true", bool, GRAMMAR, True),
        ("some words", None, None, True),  # plain text has no end but the budget
        ("some words", GRAMMAR, GRAMMAR, False),  # the grammar had not ended it
        (f"Here: {ADA}", Person, None, False),
    ],
)
def test_a_cut_answer_is_a_value_only_where_nothing_more_could_come(
    text: str, output_type: Any, constraint: Constraint | None, whole: bool
):
    result, _ = play([answer(text, "length")], output_type, constraint=constraint)
    assert result.ok is whole
    assert whole or isinstance(result.error, Truncated)


def test_a_refusal_is_an_error_of_its_own():
    result, _ = play([answer("I cannot help with that.", "refusal")])
    assert isinstance(result.error, Refused)
    assert result.error.raw == "I cannot help with that."


def test_reading_is_tolerant_only_where_nothing_was_enforced():
    fenced = f"```json\n{ADA}\n```"
    result, _ = play([answer(fenced)], constraint=None)
    assert result.ok and result.coercions
    result, _ = play([answer(fenced)], policy=Policy(repairs=0))
    assert isinstance(result.error, Invalid)


def test_confidence_and_clipped_come_from_the_completion():
    tokens = tuple(
        Token(part.encode(), math.log(p)) for part, p in [('{"age":', 1.0), ("1", 0.5), ("}", 1.0)]
    )
    reply = Completion(
        text='{"age":1}', finish_reason="landing", usage=Usage(), tokens=tokens, landed_at=7
    )
    result, _ = play([reply], {"age": "int"})
    assert result.confidence is not None
    assert result.confidence["$.age"] == pytest.approx(0.5)
    assert "$.age" in result.clipped
    assert result.finish_reason == "landing"
    result, _ = play([answer('{"age":1}')], {"age": "int"})
    assert result.confidence is None and result.clipped == ()


def test_a_wait_beyond_the_deadline_is_not_begun():
    result, sent = play([broken()], timeout_s=3)
    assert isinstance(result.error, DeadlineExceeded)
    assert "overloaded" in str(result.error)
    assert (len(sent), result.attempts) == (1, 1)
    assert sent[0].timeout_s == pytest.approx(3, abs=0.5)


@pytest.mark.parametrize("policy", [attempts, classified])
def test_scoring_labels_has_what_is_left_of_the_deadline(policy: Any):
    labels = Labels(path="$", values=("a", "b"), texts=('"a"', '"b"'))
    task = Task(
        engine=Scripted(),
        spec=spec_of(Choice(["a", "b"])),
        constraint=GRAMMAR,
        guaranteed=False,
        timeout_s=3,
        scored=(labels,),
    )
    generator = policy(task, MESSAGES)
    sends = [next(generator)]
    if policy is attempts:
        time.sleep(0.1)
        sends.append(generator.send(answer("a")))
        assert sends[1].timeout_s < sends[0].timeout_s - 0.09
    assert sends[-1].request.labels == labels.texts
    assert sends[-1].timeout_s == pytest.approx(3, abs=0.5)
    with pytest.raises(StopIteration) as stop:
        generator.send(Failure(error=DeadlineExceeded("late")))
    assert isinstance(stop.value.value.error, DeadlineExceeded)
    assert stop.value.value.attempts == len(sends)


REPLIES = st.one_of(
    st.builds(broken, st.just(0.0) | st.none(), st.booleans()),
    st.sampled_from([ADA, "{}", "", "no", '{"name":"\\']).flatmap(
        lambda text: st.builds(answer, st.just(text), st.sampled_from(["stop", "length"]))
    ),
)


@given(
    st.lists(REPLIES, min_size=20, max_size=20),
    st.integers(1, 6),
    st.integers(0, 3),
    st.booleans(),
)
def test_it_always_ends_in_one_result_that_accounts_for_every_send(
    replies: list[Reply], most: int, repairs: int, guaranteed: bool
):
    policy = Policy(attempts=most, repairs=repairs)
    result, sent = play(replies, policy=policy, guaranteed=guaranteed)
    assert len(sent) == result.attempts <= most + repairs
    answered = [each for each in replies[: len(sent)] if isinstance(each, Completion)]
    assert result.usage.output_tokens == sum(each.usage.output_tokens for each in answered)
    assert result.raw == (answered[-1].text if answered else None)
    assert result.ok == (result.value is not None)
    assert len([each for each in replies[: len(sent)] if isinstance(each, Failure)]) <= most


def task_for(engine: Any, timeout_s: float | None = None) -> Task[Any]:
    return Task(engine=engine, spec=spec_of({"age": "int"}), timeout_s=timeout_s)


async def test_the_driver_waits_and_sends():
    engine = Scripted([EngineError("busy", retryable=True, retry_after_s=0.05), {"age": 3}])
    started = time.monotonic()
    result = await drive(attempts(task_for(engine), MESSAGES))
    assert result.unwrap() == {"age": 3}
    assert 0.05 <= result.latency_s <= time.monotonic() - started
    assert len(engine.requests) == 2


async def test_the_driver_gives_up_at_the_deadline_and_cancels_the_request():
    cancelled: list[bool] = []

    async def slow(request: Request) -> object:
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            cancelled.append(True)
            raise
        return {"age": 3}

    result = await drive(attempts(task_for(Scripted(slow), 0.05), MESSAGES))
    assert isinstance(result.error, DeadlineExceeded)
    assert "0.05 s" in str(result.error)
    assert cancelled == [True]
    assert result.attempts == 1


async def test_cancelling_the_driver_cancels_the_request():
    begun = asyncio.Event()

    async def slow(request: Request) -> object:
        begun.set()
        await asyncio.sleep(30)

    running = asyncio.ensure_future(drive(attempts(task_for(Scripted(slow)), MESSAGES)))
    await begun.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


class Rude:
    """An engine that breaks its contract."""

    traits: Traits = TRAITS
    model = "rude"
    capacity = 1

    async def send(self, request: Request) -> Reply:
        raise TimeoutError("socket")

    async def close(self) -> None: ...


async def test_an_engine_that_raises_costs_only_its_own_row():
    result = await drive(attempts(task_for(Rude()), MESSAGES))
    assert isinstance(result.error, EngineError)
    assert not isinstance(result.error, DeadlineExceeded)
    assert "TimeoutError('socket')" in str(result.error)
    assert isinstance(result.error.__cause__, TimeoutError)
