"""How fast requests may be sent to a service: what it allows, and who is next.

What is allowed flows into buckets at a steady rate and is taken out by each request; one that finds
too little waits in a line, so that nobody starves. There are two kinds of bucket, and each request
needs both: a caller's own, whose limits he chose, and the service's, as its headers tell it. How
many are on their way at once is halved whenever the service says that it is too much, and grows
again with each answer.

Nothing here waits: `limited` does that, on any thread and event loop.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

from typedllm._checks import check_number
from typedllm.engines.allowances import KINDS, Allowance, Kind
from typedllm.engines.bucket import Bucket
from typedllm.engines.estimate import Estimate
from typedllm.records import Usage

__all__ = ["Quota", "RateLimit", "Turn"]

_MINUTE_S: Final = 60.0
# So much of a caller's limit may go at once; some services count requests by the second.
_BURST_S: Final[Mapping[Kind, float]] = {"requests": 1.0, "tokens": 10.0}
_LONGEST_S: Final = 60.0  # of the waits that the service leaves to us
_LEAST: Final = 1 / 8  # of those that may be on their way: a few that hang stop no other
_GROWTH: Final = 1  # more on their way for each answer, so that they double in its time
_TOKENS_PER_CHARACTER: Final = 0.25  # before there is an answer to learn from
_OUTPUT_TOKENS: Final = 64.0  # the same
_Amounts: TypeAlias = tuple[float, float, float]  # requests, tokens in, tokens out
_NOTHING: Final[_Amounts] = (0.0, 0.0, 0.0)


@dataclass(frozen=True, kw_only=True, slots=True)
class RateLimit:
    """The most that is sent to a service, whatever more it may allow.

    Attributes:
        requests_per_minute: None is no limit of ours.
        tokens_per_minute: in and out; None is no limit of ours.
        in_flight: requests on their way at once; None is as many as the engine likes.
    """

    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    in_flight: int | None = None

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            UsageError: naming the attribute that is out of its range.
        """
        for name in ("requests_per_minute", "tokens_per_minute"):
            check_number(f"RateLimit.{name}", getattr(self, name), above_least=True, or_none=True)
        check_number("RateLimit.in_flight", self.in_flight, least=1, whole=True, or_none=True)

    def per_minute(self, kind: Kind) -> float | None:
        """Return the limit of one kind, where there is one.

        Args:
            kind: of what.
        """
        if kind == "requests":
            return self.requests_per_minute
        return self.tokens_per_minute if kind == "tokens" else None


class Turn:
    """One request's place in the line, and then its share of the quota."""

    __slots__ = ("amounts", "heard", "max_tokens", "sent_at", "sent_by_then", "size", "wake")

    def __init__(self, size: int, max_tokens: int | None) -> None:
        """Want to go.

        Args:
            size: characters of the prompt.
            max_tokens: most tokens of the answer; None is as many as others had.
        """
        self.size = size
        self.max_tokens = max_tokens
        self.amounts = _NOTHING
        self.heard: Collection[Kind] = ()
        self.sent_at = 0.0
        self.sent_by_then = _NOTHING
        self.wake: Callable[[], None] | None = None

    @property
    def number(self) -> float:
        """Of all that were sent, from 1."""
        return self.sent_by_then[0]


class Quota:
    """What one service allows, shared by all that use it; usable from any thread."""

    def __init__(
        self,
        rate: RateLimit | None = None,
        *,
        in_flight: int = 64,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Allow all that `rate` does.

        Args:
            rate: the caller's own limits.
            in_flight: most requests on their way at once, where `rate` says nothing of it.
            clock: gives seconds that only grow.
        """
        self._clock = clock
        self._likes = in_flight
        self._own: dict[Kind, Bucket] = {}
        self._told: dict[Kind, Bucket] = {}
        self._sent = _NOTHING
        self._tokens_per_character = Estimate(_TOKENS_PER_CHARACTER)
        self._output_tokens = Estimate(_OUTPUT_TOKENS)
        self._resume_at = -math.inf
        self._cooled_at = 0.0  # how many were sent when it was last too much
        self._coolings = 0  # in a row
        self.forget()
        self.limit(rate or RateLimit())

    def forget(self) -> None:
        """Forget who waits and what is on its way; a forked process has none of it."""
        self._lock = threading.RLock()  # a coroutine may be collected, and leave, at any point
        self._line: deque[Turn] = deque()
        self._on_way = 0

    def limit(self, rate: RateLimit) -> None:
        """Have other limits of the caller's from now on.

        Args:
            rate: the limits.
        """
        with self._lock:
            now = self._clock()
            self.rate = rate
            self.in_flight = rate.in_flight or self._likes
            self._window = float(self.in_flight)
            self._own = {
                kind: Bucket(limit / _MINUTE_S, max(1.0, limit / _MINUTE_S * _BURST_S[kind]), now)
                for kind in KINDS
                if (limit := rate.per_minute(kind)) is not None
            }
            self._wake_next()

    def goes_at_once(self, turn: Turn) -> bool:
        """Let a request go if nothing keeps it, and nobody waits.

        Args:
            turn: the request's.
        """
        with self._lock:
            return not self._line and self._wait_s(turn) == 0 and self._go(turn)

    def queue(self, turn: Turn, wake: Callable[[], None]) -> None:
        """Put a request at the end of the line.

        Args:
            turn: the request's.
            wake: called, from any thread, when it should ask again; a RuntimeError says that
                nobody is there any more.
        """
        with self._lock:
            turn.wake = wake
            self._line.append(turn)

    def wait_s(self, turn: Turn) -> float:
        """Let a request of the line go, or say how long it has to wait.

        Args:
            turn: the request's.

        Returns:
            0 when it goes; else seconds until it should ask again, at the latest: it is woken when
            something changes.
        """
        with self._lock:
            if not self._line or self._line[0] is not turn:
                return math.inf
            wait_s = self._wait_s(turn)
            if wait_s == 0:
                self._line.popleft()
                self._go(turn)
                self._wake_next()
            return wait_s

    def leave(self, turn: Turn) -> None:
        """Give up a place in the line.

        Args:
            turn: the request's.
        """
        with self._lock:
            if turn in self._line:
                self._line.remove(turn)
                self._wake_next()

    def hear(self, turn: Turn, allowances: Mapping[Kind, Allowance]) -> None:
        """Take the service's word for what it allows.

        Args:
            turn: of the request that it answered.
            allowances: what it said.
        """
        with self._lock:
            now = self._clock()
            turn.heard = allowances.keys()
            for kind, told in allowances.items():
                limit = told.limit or self.rate.per_minute(kind)  # Azure may leave it out
                if limit is None:
                    continue
                known = self._told.get(kind)
                if known is None or turn.number >= known.news:  # else we have later news
                    self._told[kind] = self._bucket(turn, kind, told, limit, now)
            self._wake_next()

    def answered(self, turn: Turn, usage: Usage | None) -> None:
        """Be told that a request is no longer on its way.

        Args:
            turn: the request's.
            usage: what its answer took; None where there is none.
        """
        with self._lock:
            self._on_way -= 1
            if usage is not None:
                self._learn(turn, usage)
                if turn.number > self._cooled_at:
                    self._coolings = 0
                self._window = min(self._window + _GROWTH, self.in_flight)
            self._wake_next()

    def cool(self, turn: Turn, retry_after_s: float | None) -> None:
        """Send nothing for a while, since the service says that it is too much.

        What was sent before the service first said so is one case with it, and makes it no worse.

        Args:
            turn: of the request that it refused, still on its way.
            retry_after_s: how long; None leaves it to us: the first time nothing is stopped, then
                from a second on each time twice as long, until there is an answer.
        """
        with self._lock:
            now = self._clock()
            if turn.number > self._cooled_at:
                self._cooled_at, _, _ = self._sent
                if retry_after_s is not None or self._coolings:  # one alone may be an accident
                    self._window = max(1.0, self.in_flight * _LEAST, self._on_way / 2)
                    if retry_after_s is None:
                        retry_after_s = min(_LONGEST_S, 2.0 ** (self._coolings - 1))
                self._coolings = min(self._coolings + 1, 10)
            self._resume_at = max(self._resume_at, now + (retry_after_s or 0.0))
            for bucket in self._own.values():
                bucket.empty(self._resume_at)

    def _go(self, turn: Turn) -> bool:
        for kind, bucket in self._buckets():
            bucket.give(-_of(kind, turn.amounts))
        requests, tokens_in, tokens_out = self._sent
        one, more_in, more_out = turn.amounts
        self._sent = (requests + one, tokens_in + more_in, tokens_out + more_out)
        turn.sent_by_then = self._sent
        turn.sent_at = self._clock()
        self._on_way += 1
        return True

    def _wait_s(self, turn: Turn) -> float:
        now = self._clock()
        if now < self._resume_at:
            return self._resume_at - now
        if self._on_way >= int(self._window):
            return math.inf
        tokens_in = turn.size * self._tokens_per_character.high
        tokens_out = self._output_tokens.high if turn.max_tokens is None else turn.max_tokens
        turn.amounts = amounts = (1.0, tokens_in, float(tokens_out))
        if not self._own and not self._told:
            return 0.0
        return max(bucket.wait_s(_of(kind, amounts), now) for kind, bucket in self._buckets())

    def _buckets(self) -> list[tuple[Kind, Bucket]]:
        return [*self._own.items(), *self._told.items()]

    def _wake_next(self) -> None:
        """Have the first of the line ask again, unless it would wait for an answer in any case."""
        while self._line and self._wait_s(self._line[0]) < math.inf:
            wake = self._line[0].wake
            try:
                if wake is not None:
                    wake()
                return
            except RuntimeError:  # its event loop has ended
                self._line.popleft()

    def _bucket(self, turn: Turn, kind: Kind, told: Allowance, limit: float, now: float) -> Bucket:
        """The service's bucket as it is now, if it said what remained when it took the request."""
        period_s = _MINUTE_S
        if told.reset_s is not None and told.reset_s > _MINUTE_S:  # a limit by the hour or the day
            period_s = told.reset_s * limit / max(1.0, limit - told.remaining)
        bucket = Bucket(limit / period_s, limit, now)
        since = _of(kind, self._sent) - _of(kind, turn.sent_by_then)
        refilled = (now - turn.sent_at) * bucket.per_s
        bucket.level = min(limit, told.remaining - since + refilled)
        bucket.news = turn.number
        return bucket

    def _learn(self, turn: Turn, usage: Usage) -> None:
        """Put estimates right; what the service itself told is right already."""
        if not usage.tokens:
            return
        self._tokens_per_character.learn(usage.input_tokens / max(1, turn.size))
        self._output_tokens.learn(usage.output_tokens)
        actual = (1.0, float(usage.input_tokens), float(usage.output_tokens))
        for kind, bucket in self._buckets():
            if bucket is not self._told.get(kind) or kind not in turn.heard:
                bucket.give(_of(kind, turn.amounts) - _of(kind, actual))


def _of(kind: Kind, amounts: _Amounts) -> float:
    requests, tokens_in, tokens_out = amounts
    if kind == "requests":
        return requests
    if kind == "tokens":
        return tokens_in + tokens_out
    return tokens_in if kind == "input_tokens" else tokens_out
