"""What a batch would take, before any call."""

from __future__ import annotations

import pytest

from typedllm import LLM, Price, Sampling, Scripted, UsageError
from typedllm.records import Traits

SPEC = {"n": "int"}
PRICED = Traits(name="demo:m", takes=frozenset(), ending="may be cut", logprobs=False)


def test_the_models_own_tokens_are_counted():
    with LLM(sampling=Sampling(max_tokens=40)) as llm:
        texts = ["I am 31.", "My name is Ann, and I am 36 years old."]
        found = llm.estimate(texts, SPEC)
        asked = [llm.run(text, SPEC).usage.input_tokens for text in texts]
    assert (found.rows, found.unfit, found.counted) == (2, 0, True)
    assert found.input_tokens == sum(asked)
    assert found.output_tokens == 80
    assert found.least_cost is None
    assert "tokens in: " in str(found) and "cost: not known" in str(found)
    assert str(found.plan) in str(found)


def test_prices_make_it_a_cost_and_bad_rows_are_counted():
    engine = Scripted([], traits=PRICED)
    llm = LLM(engine, prices={"demo:m": Price(input=1.0, output=10.0)})
    bad = UsageError("in.csv, line 2: no text")
    inputs = ["word " * 80, bad, "\ud800"]
    found = llm.estimate(inputs, SPEC)  # type: ignore[arg-type]
    assert (found.rows, found.unfit, found.counted) == (3, 2, False)
    assert found.output_tokens is None and found.most_cost is None
    assert found.least_cost == pytest.approx(found.input_tokens / 1e6, rel=0.01)
    assert "about" in str(found) and "rows that cannot be asked: 2" in str(found)
    bounded = llm.estimate(inputs, SPEC, sampling=Sampling(max_tokens=100))  # type: ignore[arg-type]
    assert bounded.output_tokens == 100
    assert bounded.most_cost == pytest.approx(bounded.least_cost + 100 * 10 / 1e6)
    assert engine.requests == []


def test_what_concerns_all_rows_is_an_error():
    llm = LLM(Scripted([]))
    with pytest.raises(UsageError):
        llm.estimate("one text", SPEC)  # type: ignore[arg-type]
    with pytest.raises(UsageError):
        llm.estimate(["x"], {"n": "integr"})
    assert llm.estimate([], SPEC).rows == 0
