"""What a batch counts: while it runs, and when it has ended."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from typedllm.errors import NotAsked
from typedllm.records import Result, Usage

__all__ = ["Rates", "Snapshot", "Summary", "Tally", "ended", "summarized"]

_WINDOW_S: Final = 10.0
_SAMPLED_S: Final = 0.5


@dataclass(frozen=True, kw_only=True, slots=True)
class Rates:
    """How quickly a batch goes on, counting the rows that were asked.

    Attributes:
        rows_per_s: rows a second.
        input_per_s: tokens of prompts a second.
        output_per_s: tokens of answers a second.
    """

    rows_per_s: float = 0.0
    input_per_s: float = 0.0
    output_per_s: float = 0.0

    def __str__(self) -> str:
        return (
            f"{_rate(self.rows_per_s)} rows/s, {_rate(self.input_per_s)} tokens/s in, "
            f"{_rate(self.output_per_s)} out"
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Snapshot:
    """How far a batch has come.

    Attributes:
        done: rows that have a result.
        total: rows in all; None where that is not known.
        ok: rows that have a value.
        failures: number of rows by the class name of their error, such as `Invalid`.
        there: rows that were not asked, as they were there already, by `Result.origin`.
        attempts: requests that were sent.
        usage: tokens of the rows that were asked, failed attempts included.
        unpriced: rows of these whose cost is not known.
        seconds: since the batch began.
        recent: the rates of about the last ten seconds.
    """

    done: int
    total: int | None
    ok: int
    failures: Mapping[str, int]
    there: Mapping[str, int]
    attempts: int
    usage: Usage
    unpriced: int
    seconds: float
    recent: Rates

    @property
    def overall(self) -> Rates:
        """The rates since the batch began."""
        asked = _asked(self.done, self.there, self.failures)
        usage = self.usage
        return _rates(asked, usage.input_tokens, usage.output_tokens, self.seconds)

    @property
    def eta_s(self) -> float | None:
        """Seconds that the rest takes at the recent rate; None where that cannot be told."""
        if self.total is None:
            return None
        left = max(self.total - self.done, 0)
        if not left:
            return 0.0
        return left / self.recent.rows_per_s if self.recent.rows_per_s else None

    def __str__(self) -> str:
        left = self.eta_s
        parts = [
            _counted(self),
            str(self.recent),
            *([] if left is None else [f"{_time(left)} left"]),
        ]
        return ", ".join([*parts, *_priced(self.usage)])


@dataclass(frozen=True, kw_only=True, slots=True)
class Summary:
    """What came of a batch, in figures; printed, it is a few lines to read.

    Attributes:
        rows: number of results.
        ok: those that have a value.
        failures: number of rows by the class name of their error, such as `Invalid`.
        there: rows that were not asked, by `Result.origin`: `journal`, `cache` or `shared`.
        attempts: requests that were sent.
        retried: rows that needed more than one.
        usage: tokens of the rows that were asked, failed attempts included; its cost is None when
            that of any of them is not known.
        unpriced: rows of these whose cost is not known.
        latency_p50_s: median of the seconds that a row took, of those for which a request was sent;
            None where none was.
        latency_p95_s: what 95 % of them did not exceed.
        latency_max_s: the longest of them.
        clipped: rows with a part that a landing or a fitted limit cut short.
        wall_s: seconds that the whole batch took.
    """

    rows: int
    ok: int
    failures: Mapping[str, int]
    there: Mapping[str, int]
    attempts: int
    retried: int
    usage: Usage
    unpriced: int
    latency_p50_s: float | None
    latency_p95_s: float | None
    latency_max_s: float | None
    clipped: int
    wall_s: float

    @property
    def validity(self) -> float | None:
        """The share of rows that have a value, from 0 to 1; None for no rows."""
        return self.ok / self.rows if self.rows else None

    @property
    def asked(self) -> int:
        """Rows that were asked."""
        return _asked(self.rows, self.there, self.failures)

    @property
    def rows_per_s(self) -> float:
        """Rows that were asked, a second."""
        return self.asked / self.wall_s if self.wall_s else 0.0

    def __str__(self) -> str:
        usage, share = self.usage, self.validity
        longest = self.latency_max_s
        lines = {
            "rows": f"{self.rows:,}" + ("" if share is None else f", {_share(share)} valid"),
            "errors": _listed(self.failures),
            "not asked": _listed(self.there),
            "attempts": f"{self.attempts:,}; {_rows(self.retried)} needed more than one",
            "tokens": f"{usage.input_tokens:,} in ({usage.cached_tokens:,} cached), "
            f"{usage.output_tokens:,} out",
            "cost": f"not known of {_rows(self.unpriced)}"
            if self.unpriced
            else "".join(_priced(usage)),
            "latency": ""
            if longest is None
            else f"{self.latency_p50_s:.3f} s median, {self.latency_p95_s:.3f} s for 95%, "
            f"{longest:.3f} s at most",
            "time": f"{self.wall_s:.2f} s, {_rate(self.rows_per_s)} rows/s",
            "clipped": _rows(self.clipped) if self.clipped else "",
        }
        return "\n".join(f"{name + ':':10} {text}" for name, text in lines.items() if text)


class _Counts:
    """Counts results, without any clock."""

    def __init__(self) -> None:
        self.done = self.ok = self.asked = self.attempts = 0
        self.tokens_in = self.tokens_out = self.cached = self.priced = self.unpriced = 0
        self.cost = 0.0
        # Replaced, never changed: whoever was given one keeps it as it was.
        self.failures: Mapping[str, int] = {}
        self.there: Mapping[str, int] = {}

    def add(self, result: Result[Any]) -> None:
        self.done += 1
        if result.error is None:
            self.ok += 1
        else:
            self.failures = _more(self.failures, type(result.error).__name__)
        if result.origin != "asked":
            self.there = _more(self.there, result.origin)
            return
        if isinstance(result.error, NotAsked):
            return
        usage = result.usage
        self.asked += 1
        self.attempts += result.attempts
        self.tokens_in += usage.input_tokens
        self.tokens_out += usage.output_tokens
        self.cached += usage.cached_tokens
        if usage.cost is not None:
            self.priced += 1
            self.cost += usage.cost
        elif usage.input_tokens or usage.output_tokens:
            self.unpriced += 1

    @property
    def usage(self) -> Usage:
        """Of the rows that were asked."""
        return Usage(
            input_tokens=self.tokens_in,
            output_tokens=self.tokens_out,
            cached_tokens=self.cached,
            cost=self.cost if self.priced and not self.unpriced else None,
        )


class Tally:
    """Counts the results of a running batch, in bounded memory and a microsecond or two each.

    It is added to by one thread; any may take a snapshot.
    """

    __slots__ = ("_clock", "_counts", "_samples", "_started", "_total")

    def __init__(self, total: int | None, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Begin to count.

        Args:
            total: rows in all; None where that is not known.
            clock: tells the time in seconds.
        """
        self._total = total
        self._clock = clock
        self._counts = _Counts()
        self._started = clock()
        # Time, and rows and tokens up to then; the first is the latest of at least ten seconds ago.
        self._samples = deque([(self._started, 0, 0, 0)])

    def add(self, result: Result[Any]) -> None:
        """Count one more result.

        Args:
            result: of a row.
        """
        counts, samples = self._counts, self._samples
        counts.add(result)
        now = self._clock()
        if now - samples[-1][0] >= _SAMPLED_S:
            samples.append((now, counts.asked, counts.tokens_in, counts.tokens_out))
            while samples[1][0] <= now - _WINDOW_S:
                samples.popleft()

    def snapshot(self) -> Snapshot:
        """How far the batch has come by now."""
        now, counts = self._clock(), self._counts
        then, rows, tokens_in, tokens_out = self._samples[0]
        recent = _rates(
            counts.asked - rows,
            counts.tokens_in - tokens_in,
            counts.tokens_out - tokens_out,
            now - then,
        )
        return Snapshot(
            done=counts.done,
            total=self._total,
            ok=counts.ok,
            failures=counts.failures,
            there=counts.there,
            attempts=counts.attempts,
            usage=counts.usage,
            unpriced=counts.unpriced,
            seconds=now - self._started,
            recent=recent,
        )


def ended(snapshot: Snapshot) -> str:
    """Say in a line how far a batch came that goes on no more.

    Args:
        snapshot: the last.
    """
    parts = [f"{_counted(snapshot)} in {_time(snapshot.seconds)}", str(snapshot.overall)]
    return ", ".join([*parts, *_priced(snapshot.usage)])


def summarized(results: Iterable[Result[Any]], *, wall_s: float) -> Summary:
    """Sum results up.

    Args:
        results: of a batch.
        wall_s: seconds that the whole batch took.
    """
    counts, took = _Counts(), list[float]()
    retried = clipped = 0
    for result in results:
        counts.add(result)
        clipped += bool(result.clipped)
        if result.origin == "asked" and result.attempts:
            took.append(result.latency_s)
            retried += result.attempts > 1
    took.sort()
    return Summary(
        rows=counts.done,
        ok=counts.ok,
        failures=counts.failures,
        there=counts.there,
        attempts=counts.attempts,
        retried=retried,
        usage=counts.usage,
        unpriced=counts.unpriced,
        latency_p50_s=_percentile(took, 50),
        latency_p95_s=_percentile(took, 95),
        latency_max_s=_percentile(took, 100),
        clipped=clipped,
        wall_s=wall_s,
    )


def _percentile(ordered: list[float], percent: int) -> float | None:
    """By nearest rank: the least of the numbers that so many per cent of them do not exceed."""
    return ordered[max(math.ceil(len(ordered) * percent / 100), 1) - 1] if ordered else None


def _asked(rows: int, there: Mapping[str, int], failures: Mapping[str, int]) -> int:
    return rows - sum(there.values()) - failures.get(NotAsked.__name__, 0)


def _more(counts: Mapping[str, int], name: str) -> Mapping[str, int]:
    return {**counts, name: counts.get(name, 0) + 1}


def _rates(rows: int, tokens_in: int, tokens_out: int, seconds: float) -> Rates:
    if seconds <= 0:
        return Rates()
    return Rates(
        rows_per_s=rows / seconds,
        input_per_s=tokens_in / seconds,
        output_per_s=tokens_out / seconds,
    )


def _counted(snapshot: Snapshot) -> str:
    done, total = snapshot.done, snapshot.total
    parts = [_rows(done) if total is None else f"{done:,} of {_rows(total)}"]
    if total:
        parts[0] += f" ({done / total:.0%})"
    if snapshot.failures:
        parts.append(f"{done - snapshot.ok:,} failed ({_listed(snapshot.failures)})")
    if snapshot.there:
        parts.append(f"not asked: {_listed(snapshot.there)}")
    return ", ".join(parts)


def _listed(counts: Mapping[str, int]) -> str:
    often = sorted(counts.items(), key=lambda item: -item[1])
    return ", ".join(f"{name} {count:,}" for name, count in often)


def _priced(usage: Usage) -> list[str]:
    """What it cost, if that is known."""
    if usage.cost is None:
        return []
    return [f"${usage.cost:,.2f}" if usage.cost >= 1 else f"${usage.cost:.4f}"]


def _rows(count: int) -> str:
    return f"{count:,} row" if count == 1 else f"{count:,} rows"


def _rate(number: float) -> str:
    return f"{number:,.1f}" if number < 100 else f"{number:,.0f}"


def _share(share: float) -> str:
    """In per cent; 100% and 0% are said of all and none only."""
    return f"{share:.1%}" if share in (0, 1) else f"{min(max(share, 0.001), 0.999):.1%}"


def _time(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"
