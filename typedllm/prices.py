"""What tokens cost: a table of the caller's own, else the prices that genai-prices knows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import cast

from typedllm._checks import check_kind, check_number
from typedllm.errors import UsageError
from typedllm.records import Usage

__all__ = ["Price", "Prices", "checked_prices", "price_of"]

_MILLION = 1_000_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Price:
    """What a model's tokens cost, in US dollars for a million of them.

    Attributes:
        input: tokens of prompts.
        output: tokens of answers, reasoning included.
        cached: tokens of prompts that the service read from its cache; None is as `input`.
    """

    input: float
    output: float
    cached: float | None = None

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            UsageError: naming the attribute that is out of its range.
        """
        check_number("Price.input", self.input)
        check_number("Price.output", self.output)
        check_number("Price.cached", self.cached, or_none=True)

    def cost(self, usage: Usage) -> float:
        """Return what tokens cost in US dollars.

        Args:
            usage: the tokens.
        """
        cached = self.input if self.cached is None else self.cached
        fresh = max(usage.input_tokens - usage.cached_tokens, 0)  # some services count them apart
        dollars = fresh * self.input + usage.cached_tokens * cached
        return (dollars + usage.output_tokens * self.output) / _MILLION


Prices = Mapping[str, Price]
"""Prices by model, as `LLM` takes it: `engine:model`."""


def price_of(
    model: str, provider: str | None, prices: Prices
) -> Callable[[Usage], float | None] | None:
    """Find out how the tokens of a model are priced.

    Args:
        model: as `engine:model`.
        provider: the provider whose prices hold, as genai-prices calls it; None where none is.
        prices: the caller's own, which go first.

    Returns:
        What tells the US dollars of tokens, or None for a single usage whose price is not known;
        None where no price is known at all.
    """
    own = prices.get(model)
    if own is not None:
        return own.cost
    if provider is None or not _is_known(provider, model.partition(":")[2]):
        return None
    return partial(_listed, provider, model.partition(":")[2])


def checked_prices(prices: Prices | None) -> Prices:
    """Return what is given as prices, if it is a table of them.

    Raises:
        UsageError: naming the entry that is none.
    """
    check_kind("prices", prices, Mapping)
    for model, price in (prices or {}).items():
        if not isinstance(cast(object, price), Price):
            raise UsageError(
                f"prices[{model!r}]: expected Price(input=..., output=...), got {price!r:.80}"
            )
        if ":" not in model:
            raise UsageError(f"prices: write {model!r} as `engine:model`, as LLM takes it")
    return dict(prices or {})


@lru_cache(maxsize=256)
def _is_known(provider: str, model: str) -> bool:
    return _listed(provider, model, Usage(input_tokens=1, output_tokens=1)) is not None


def _listed(provider: str, model: str, usage: Usage) -> float | None:
    """What genai-prices says, or None where it does not know the model."""
    import genai_prices  # 0.2 s to import, which a call of a local model does not need

    counted = genai_prices.Usage(
        input_tokens=usage.input_tokens,
        cache_read_tokens=usage.cached_tokens,
        output_tokens=usage.output_tokens,
    )
    try:
        return float(genai_prices.calc_price(counted, model, provider_id=provider).total_price)
    except (LookupError, ValueError):  # ValueError: of counts that cannot be, as a service may tell
        return None
