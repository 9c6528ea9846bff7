"""What may be used at most, for one result or for a whole batch."""

from __future__ import annotations

import time
from dataclasses import dataclass

from typedllm._checks import check_number
from typedllm.records import Usage

__all__ = ["Budget", "Spending"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Budget:
    """What may be used before nothing more is sent; what is under way by then is finished.

    Attributes:
        tokens: in and out, over all attempts; None is no limit, here and below.
        dollars: US dollars; nothing more is sent either where what was sent has no known price.
        seconds: from the beginning on.
    """

    tokens: int | None = None
    dollars: float | None = None
    seconds: float | None = None

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            UsageError: naming the attribute that is out of its range.
        """
        check_number("Budget.tokens", self.tokens, least=1, whole=True, or_none=True)
        check_number("Budget.dollars", self.dollars, above_least=True, or_none=True)
        check_number("Budget.seconds", self.seconds, above_least=True, or_none=True)

    def __str__(self) -> str:
        """The limits that are set, as they are written."""
        limits = {"tokens": self.tokens, "dollars": self.dollars, "seconds": self.seconds}
        told = (f"{name}={limit}" for name, limit in limits.items() if limit is not None)
        return f"Budget({', '.join(told)})"


class Spending:
    """What has been used of a budget, from when it was made on."""

    def __init__(self, budget: Budget | None) -> None:
        """Begin to count.

        Args:
            budget: None where there is none.
        """
        self._budget = budget
        self._started = time.monotonic()
        self._dollars: float | None = 0.0  # None once they are not known
        self._usage = Usage()

    def add(self, usage: Usage) -> None:
        """Count what was used.

        Args:
            usage: of one more reply.
        """
        if self._budget is None:
            return
        self._usage += usage
        if usage.tokens or usage.cost is not None:
            self._dollars = _sum(self._dollars, usage.cost)

    def spent(self) -> str:
        """Say what of the budget is spent; empty while nothing is."""
        budget = self._budget
        if budget is None:
            return ""
        if budget.tokens is not None and self._usage.tokens >= budget.tokens:
            return f"{self._usage.tokens:,} tokens of {budget} are spent"
        if budget.dollars is not None:
            if self._dollars is None:
                return f"{budget} needs prices that are not known: give prices= to the LLM"
            if self._dollars >= budget.dollars:
                return f"{self._dollars:.4g} dollars of {budget} are spent"
        seconds = time.monotonic() - self._started
        if budget.seconds is not None and seconds >= budget.seconds:
            return f"{seconds:.3g} seconds of {budget} are spent"
        return ""


def _sum(one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else one + other
