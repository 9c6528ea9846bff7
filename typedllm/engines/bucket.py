"""What a service allows of one thing, such as tokens: a bucket that fills steadily."""

from __future__ import annotations

from typing import Final

__all__ = ["Bucket"]

_LITTLE: Final = 1e-6  # of a request or token: less is an error of rounding


class Bucket:
    """So much may be taken at once; what is taken flows in again.

    Attributes:
        per_s: what flows in, a second.
        capacity: the most that it holds.
        level: what it held at `at`; below 0 where more was taken than there was.
        at: when that was, in seconds; in the future while nothing flows in.
        news: the number of the request of whose answer it is known, where the service told it.
    """

    def __init__(self, per_s: float, capacity: float, now: float) -> None:
        """Make a full one.

        Args:
            per_s: what flows in, a second.
            capacity: the most that it holds.
            now: the time in seconds.
        """
        self.per_s = per_s
        self.capacity = capacity
        self.level = capacity
        self.at = now
        self.news = 0.0

    def refill(self, now: float) -> None:
        """Have flow in what did since it was looked at.

        Args:
            now: the time in seconds.
        """
        if now > self.at:
            self.level = min(self.capacity, self.level + (now - self.at) * self.per_s)
            self.at = now

    def wait_s(self, amount: float, now: float) -> float:
        """Return the seconds until so much may be taken.

        Args:
            amount: of what is in it; where it never holds so much, a full one will do.
            now: the time in seconds.
        """
        self.refill(now)
        missing = min(amount, self.capacity) - self.level
        closed_s = max(0.0, self.at - now)
        return closed_s + missing / self.per_s if missing > _LITTLE else 0.0

    def give(self, amount: float) -> None:
        """Put something back, or take what was wanting.

        Args:
            amount: of what is in it; below 0 to take.
        """
        self.level = min(self.capacity, self.level + amount)

    def empty(self, until: float) -> None:
        """Take all out, and have nothing flow in for a while.

        Args:
            until: when it does again, in seconds.
        """
        self.level = min(self.level, 0.0)
        self.at = max(self.at, until)
