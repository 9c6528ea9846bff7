"""A cut answer gets more tokens where no grammar can make it fit; and what a result may spend."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from typedllm import LLM, Budget, EngineError, Invalid, Price, Scripted, Truncated, UsageError
from typedllm.attempts import Policy
from typedllm.records import Completion, FinishReason, Request, Result, Sampling, Traits, Usage

ASKED = Traits(name="asked", takes=frozenset(), ending="may be cut", logprobs=False)
SPEC = {"name": "str", "age": "int"}
CUT = '{"name":"Ada","age":3'
WHOLE = '{"name":"Ada","age":36}'


def answer(
    text: str, finish_reason: FinishReason = "stop", tokens: int = 4, cost: float | None = None
) -> Completion:
    usage = Usage(input_tokens=10, output_tokens=tokens, cost=cost)
    return Completion(text=text, finish_reason=finish_reason, usage=usage)


def run(
    replies: Sequence[object], *, max_tokens: int | None = 50, policy: Policy | None = None
) -> tuple[Result[Any], list[Request]]:
    engine = Scripted(list(replies), traits=ASKED)
    llm = LLM(engine, policy=policy, sampling=Sampling(max_tokens=max_tokens))
    return llm.run("Who?", SPEC), engine.requests


def test_a_cut_answer_is_asked_for_with_fourfold_tokens():
    result, sent = run([answer(CUT, "length"), answer(CUT, "length"), answer(WHOLE)])
    assert result.value == {"name": "Ada", "age": 36}
    assert [request.sampling.max_tokens for request in sent] == [50, 200, 800]
    assert all(request.prompt == sent[0].prompt for request in sent)
    assert result.usage == Usage(input_tokens=30, output_tokens=12)


@given(first=st.integers(1, 3_000), most=st.integers(0, 10_000))
def test_the_budget_grows_up_to_the_limit_and_then_it_is_truncated(first: int, most: int):
    replies = [answer(CUT, "length")] * 20
    result, sent = run(replies, max_tokens=first, policy=Policy(raised_tokens=most))
    budgets = [request.sampling.max_tokens or 0 for request in sent]
    assert budgets[0] == first
    assert budgets[-1] == max(first, most)
    assert all(new == min(4 * old, most) for old, new in pairwise(budgets))
    assert isinstance(result.error, Truncated)
    assert result.error.partial == {"name": "Ada"}
    assert result.error.path == "$.age"


def test_without_a_budget_of_the_callers_there_is_none_to_raise():
    result, sent = run([answer(CUT, "length")], max_tokens=None)
    assert isinstance(result.error, Truncated)
    assert len(sent) == 1


def test_a_service_that_takes_no_larger_budget_leaves_it_cut():
    refuses = UsageError("max_tokens is too large: 200")
    result, sent = run([answer(CUT, "length"), refuses])
    assert isinstance(result.error, Truncated)
    assert len(sent) == 2
    result, sent = run([refuses])
    assert result.error is refuses


def test_plain_text_is_as_long_as_it_was_asked_for():
    engine = Scripted([answer("Once upon", "length")], traits=ASKED)
    assert LLM(engine, sampling=Sampling(max_tokens=2)).call("Tell a story.") == "Once upon"


def test_a_repair_keeps_the_larger_budget():
    replies = [answer(CUT, "length"), answer('{"name":1}'), answer(WHOLE)]
    result, sent = run(replies)
    assert result.ok
    assert [request.sampling.max_tokens for request in sent] == [50, 200, 200]


@pytest.mark.parametrize(
    ("budget", "told"),
    [
        (Budget(tokens=14), "14 tokens of Budget(tokens=14) are spent"),
        (Budget(dollars=0.5), "0.5 dollars of Budget(dollars=0.5) are spent"),
    ],
)
def test_nothing_more_is_sent_when_a_limit_is_spent(budget: Budget, told: str):
    policy = Policy(budget=budget)
    bad = answer('{"name":1,"age":2}', cost=0.5)
    result, sent = run([bad, answer(WHOLE)], policy=policy)
    assert len(sent) == 1
    assert isinstance(result.error, Invalid)
    assert str(result.error) == f"$.name: expected str, got 1; it is not asked again, since {told}"
    assert [issue.path for issue in result.error.issues] == ["$.name"]
    result, sent = run([answer(CUT, "length", cost=0.5), answer(WHOLE)], policy=policy)
    assert isinstance(result.error, Truncated) and told in str(result.error)


def test_an_answer_that_is_there_counts_whatever_it_cost():
    result, _ = run([answer(WHOLE, cost=9.0)], policy=Policy(budget=Budget(tokens=1, dollars=0.1)))
    assert result.ok and result.usage.cost == 9.0


def test_no_further_engine_is_asked_when_a_limit_is_spent():
    first = Scripted([answer('{"name":1}'), EngineError("broken")], traits=ASKED)
    second = Scripted([answer(WHOLE)], traits=ASKED)
    result = LLM(first, fallback=[second], policy=Policy(budget=Budget(tokens=10), repairs=1)).run(
        "x", SPEC
    )
    assert not result.ok
    assert second.requests == []


@pytest.mark.parametrize("name", ["tokens", "dollars", "seconds"])
def test_bad_limits_are_refused(name: str):
    with pytest.raises(UsageError, match=f"Budget.{name}"):
        Budget(**{name: -1})
    with pytest.raises(UsageError, match="budget"):
        Policy(budget=5)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="raised_tokens"):
        Policy(raised_tokens=-1)


def test_prices_of_ones_own_make_the_cost_of_all_attempts():
    engine = Scripted([answer('{"name":1}'), answer(WHOLE)], traits=ASKED)
    prices = {"asked": Price(input=1.0, output=10.0)}
    with pytest.raises(UsageError, match="write 'asked' as `engine:model`"):
        LLM(engine, prices=prices)
    engine = Scripted([answer('{"name":1}'), answer(WHOLE)], traits=Traits(
        name="asked:m", takes=frozenset(), ending="may be cut", logprobs=False
    ))  # fmt: skip
    result = LLM(engine, prices={"asked:m": Price(input=1.0, output=10.0)}).run("x", SPEC)
    assert result.usage.cost == pytest.approx(2 * (10 * 1.0 + 4 * 10.0) / 1e6)
    results = LLM(engine, prices={"x:y": Price(input=1, output=1)}).run("x", SPEC)
    assert results.usage.cost is None


def test_a_budget_holds_over_all_engines_of_a_call():
    first = Scripted([answer('{"name":1}', tokens=40), EngineError("broken")], traits=ASKED)
    second = Scripted([answer('{"name":1}', tokens=40)] * 9, traits=ASKED)
    policy = Policy(budget=Budget(tokens=120), repairs=9)
    result = LLM(first, fallback=[second], policy=policy).run("x", SPEC)
    assert result.usage.tokens == 150  # 50 before the fallback, then what came before it was spent
    assert not result.ok


def test_a_budget_of_seconds_holds_for_failures_too():
    broken = EngineError("broken", retryable=True, retry_after_s=0.05)
    policy = Policy(budget=Budget(seconds=0.2), attempts=1000)
    result = LLM(Scripted([broken] * 1000, traits=ASKED), policy=policy).run("x", SPEC)
    assert 2 <= result.attempts < 50
    assert "Budget(seconds=0.2) are spent" in str(result.error)


def test_a_budget_of_dollars_stops_where_the_price_is_not_known():
    policy = Policy(budget=Budget(dollars=1.5), repairs=9)
    for costs, count in (((None, 1.0), 1), ((1.0, None, 0.1), 2)):
        replies = [answer('{"name":1}', cost=cost) for cost in (*costs, 0.1)]
        result, sent = run(replies, policy=policy)
        assert len(sent) == count
        assert "Budget(dollars=1.5) needs prices that are not known" in str(result.error)
    assert run([answer(WHOLE, cost=None)], policy=policy)[0].ok
