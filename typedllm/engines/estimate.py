"""What the next one of a run of numbers is likely not to exceed."""

from __future__ import annotations

from typing import Final

__all__ = ["Estimate"]

_WEIGHT: Final = 1 / 16  # of the newest number
_DEVIATIONS: Final = 4


class Estimate:
    """A running mean and four times what the numbers differ from it, as TCP estimates its delays.

    https://www.rfc-editor.org/rfc/rfc6298
    """

    def __init__(self, first: float) -> None:
        """Know nothing yet.

        Args:
            first: what to say before there is a number.
        """
        self._mean = first
        self._deviation = 0.0
        self._learned = False

    @property
    def high(self) -> float:
        """What the next number is likely not to exceed."""
        return self._mean + _DEVIATIONS * self._deviation

    def learn(self, number: float) -> None:
        """Take one more number into account.

        Args:
            number: of the run.
        """
        if not self._learned:
            self._mean, self._learned = number, True
        away = number - self._mean
        self._mean += away * _WEIGHT
        self._deviation += (abs(away) - self._deviation) * _WEIGHT
