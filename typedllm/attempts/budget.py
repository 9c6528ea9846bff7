"""What may be used at most, for one result or for a whole batch."""

from __future__ import annotations

from dataclasses import dataclass

from typedllm._checks import check_number
from typedllm.records import Usage

__all__ = ["Budget"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Budget:
    """What may be used before nothing more is sent; what is under way by then is finished.

    Attributes:
        tokens: in and out, over all attempts; None is no limit, here and below.
        dollars: US dollars, where prices are known.
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

    def spent(self, usage: Usage, seconds: float) -> str:
        """Say what is spent; empty while nothing is.

        Args:
            usage: what was used by now.
            seconds: that have passed by now.
        """
        if self.tokens is not None and usage.tokens >= self.tokens:
            return f"{usage.tokens:,} tokens of {self} are spent"
        if self.dollars is not None and usage.cost is not None and usage.cost >= self.dollars:
            return f"{usage.cost:.4g} dollars of {self} are spent"
        if self.seconds is not None and seconds >= self.seconds:
            return f"{seconds:.3g} seconds of {self} are spent"
        return ""

    def __str__(self) -> str:
        """The limits that are set, as they are written."""
        limits = {"tokens": self.tokens, "dollars": self.dollars, "seconds": self.seconds}
        told = (f"{name}={limit}" for name, limit in limits.items() if limit is not None)
        return f"Budget({', '.join(told)})"
