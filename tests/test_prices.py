from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from typedllm import LLM, Price, UsageError
from typedllm.prices import price_of
from typedllm.records import Usage

COUNTS = st.integers(0, 10**6)
COSTS = st.none() | st.floats(0, 10, allow_nan=False)
USAGES = st.builds(Usage, input_tokens=COUNTS, output_tokens=COUNTS, cost=COSTS)


def test_a_price_of_ones_own_counts_what_was_cached_apart():
    price = Price(input=2.0, output=8.0, cached=0.5)
    usage = Usage(input_tokens=1_000_000, cached_tokens=400_000, output_tokens=500_000)
    assert price.cost(usage) == pytest.approx(0.6 * 2 + 0.4 * 0.5 + 0.5 * 8)
    assert Price(input=2.0, output=8.0).cost(usage) == pytest.approx(2 + 4)


def test_prices_of_a_providers_models_are_known():
    priced = price_of("openai:gpt-4o", "openai", {})
    assert priced is not None
    assert priced(Usage(input_tokens=1_000_000)) == pytest.approx(2.5)
    cached = Usage(input_tokens=1_000_000, cached_tokens=1_000_000)
    assert priced(cached) == pytest.approx(1.25)


def test_ones_own_prices_go_first():
    priced = price_of("openai:gpt-4o", "openai", {"openai:gpt-4o": Price(input=1, output=1)})
    assert priced is not None and priced(Usage(input_tokens=1_000_000)) == 1


@pytest.mark.parametrize(
    ("model", "provider"), [("openai:my-model", "openai"), ("vllm:m", None), ("x:y", "nobody")]
)
def test_an_unknown_price_is_unknown_and_not_nothing(model: str, provider: str | None):
    assert price_of(model, provider, {}) is None


def test_local_models_have_no_price():
    with LLM() as llm:
        assert llm.run("Ann is 31.", {"age": "int"}).usage.cost is None


@given(st.lists(USAGES, max_size=6))
def test_the_cost_of_many_is_their_sum_or_unknown(usages: list[Usage]):
    total = sum(usages, Usage())
    counted = [usage for usage in usages if usage.tokens or usage.cost is not None]
    if not counted or any(usage.cost is None for usage in counted):
        assert total.cost is None
    else:
        assert total.cost == pytest.approx(sum(usage.cost or 0 for usage in counted))


@pytest.mark.parametrize("prices", [{"a:b": 3}, {"a": Price(input=1, output=1)}, [1]])
def test_bad_prices_are_refused(prices: object):
    with pytest.raises(UsageError, match="prices"):
        LLM(prices=prices)  # type: ignore[arg-type]


def test_counts_that_cannot_be_have_no_price_and_raise_nothing():
    priced = price_of("openai:gpt-4o", "openai", {})
    assert priced is not None
    assert priced(Usage(input_tokens=1, cached_tokens=5)) is None
    own = Price(input=1.0, output=1.0, cached=0.1)
    assert own.cost(Usage(input_tokens=1, cached_tokens=5)) >= 0
