"""What a batch counts, by a clock of the test's own."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from typedllm.batch.tally import Tally, ended, summarized
from typedllm.errors import EngineError, Invalid, NotAsked, Refused, UsageError
from typedllm.records import Result, Usage


class Clock:
    """Shows the time that it is given."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


ERRORS = [EngineError("no"), Invalid("no", raw="x"), Refused("no", raw="x"), UsageError("no")]
USAGES = st.builds(
    Usage,
    input_tokens=st.integers(0, 999),
    output_tokens=st.integers(0, 999),
    cached_tokens=st.integers(0, 9),
    cost=st.none() | st.integers(0, 99).map(float),
)
RESULTS: st.SearchStrategy[Result[Any]] = st.builds(
    Result,
    error=st.none() | st.sampled_from(ERRORS),
    usage=USAGES,
    attempts=st.integers(0, 4),
    latency_s=st.integers(0, 99).map(float),
    clipped=st.sampled_from([(), ("$.a",)]),
    origin=st.sampled_from(["asked", "asked", "asked", "journal", "cache", "shared"]),
) | st.just(Result(error=NotAsked("no")))


@given(st.lists(RESULTS), st.lists(st.floats(0, 9), min_size=1))
def test_the_counts_are_those_of_the_rows(rows: list[Result[Any]], steps: list[float]):
    clock = Clock()
    tally = Tally(len(rows), clock=clock)
    for position, row in enumerate(rows):
        clock.now += steps[position % len(steps)]
        tally.add(row)
    seen, summary = tally.snapshot(), summarized(rows, wall_s=2.0)
    asked = [row for row in rows if row.origin == "asked" and not isinstance(row.error, NotAsked)]
    spent = sum((row.usage for row in asked), Usage())
    assert (seen.done, seen.total, summary.rows) == (len(rows), len(rows), len(rows))
    assert seen.ok == summary.ok == sum(row.ok for row in rows)
    kinds = [type(row.error).__name__ for row in rows if row.error]
    assert seen.failures == summary.failures == {kind: kinds.count(kind) for kind in kinds}
    there = [row.origin for row in rows if row.origin != "asked"]
    assert seen.there == summary.there == {origin: there.count(origin) for origin in there}
    assert seen.attempts == summary.attempts == sum(row.attempts for row in asked)
    assert seen.usage == summary.usage == spent
    unpriced = sum(row.usage.cost is None and row.usage.tokens > 0 for row in asked)
    assert seen.unpriced == summary.unpriced == unpriced
    assert seen.seconds == pytest.approx(clock.now - 100)
    if seen.seconds:
        overall = seen.overall
        assert overall.rows_per_s == pytest.approx(len(asked) / seen.seconds)
        assert overall.input_per_s == pytest.approx(spent.input_tokens / seen.seconds)
        assert overall.output_per_s == pytest.approx(spent.output_tokens / seen.seconds)
    assert summary.retried == sum(row.attempts > 1 for row in asked)
    assert summary.clipped == sum(row.clipped != () for row in rows)
    assert (summary.asked, summary.rows_per_s) == (len(asked), len(asked) / 2)
    assert str(seen) and ended(seen) and str(summary)


@given(st.lists(st.integers(0, 99).map(float), min_size=1))
def test_percentiles_are_of_the_rows_that_were_sent(took: list[float]):
    sent = [Result(value=1, attempts=1, latency_s=seconds) for seconds in took]
    others = [Result(error=UsageError("no")), Result(value=1, latency_s=1e6, origin="cache")]
    summary = summarized([*others, *sent], wall_s=1)
    for share, found in [
        (0.5, summary.latency_p50_s),
        (0.95, summary.latency_p95_s),
        (1, summary.latency_max_s),
    ]:
        assert found in took
        assert sum(seconds <= found for seconds in took) >= math.floor(share * len(took))
        assert sum(seconds < found for seconds in took) < math.ceil(share * len(took))


def counted(tally: Tally, clock: Clock, rows: int, every_s: float) -> None:
    usage = Usage(input_tokens=10, output_tokens=5)
    for _ in range(rows):
        clock.now += every_s
        tally.add(Result(value=1, attempts=1, usage=usage))


def test_recent_rates_forget_what_was_long_ago():
    clock = Clock()
    tally = Tally(1_000, clock=clock)
    counted(tally, clock, 400, 0.1)
    counted(tally, clock, 200, 0.25)
    seen = tally.snapshot()
    assert seen.recent.rows_per_s == pytest.approx(4, rel=0.05)
    assert seen.recent.input_per_s == pytest.approx(40, rel=0.05)
    assert seen.recent.output_per_s == pytest.approx(20, rel=0.05)
    assert seen.overall.rows_per_s == pytest.approx(600 / 90)
    assert seen.eta_s == pytest.approx(100, rel=0.05)
    clock.now += 1_000  # nothing comes any more
    assert tally.snapshot().recent.rows_per_s < 0.1
    counted(tally, clock, 1_100, 0.01)
    assert tally.snapshot().recent.rows_per_s == pytest.approx(100, rel=0.1)
    assert tally.snapshot().eta_s == 0


def test_rows_that_were_there_do_not_make_it_look_quick():
    clock = Clock()
    tally = Tally(1_000, clock=clock)
    for _ in range(500):
        tally.add(Result(value=1, origin="journal", usage=Usage(input_tokens=10)))
    assert tally.snapshot().eta_s is None
    counted(tally, clock, 10, 0.5)
    seen = tally.snapshot()
    assert (seen.recent.rows_per_s, seen.eta_s) == (2, 245)
    assert seen.usage.input_tokens == 100


def test_a_snapshot_stays_as_it_is():
    tally = Tally(None)
    tally.add(Result(error=EngineError("no"), origin="journal"))
    seen = tally.snapshot()
    tally.add(Result(error=EngineError("no"), origin="journal"))
    assert (seen.done, seen.failures, seen.there) == (1, {"EngineError": 1}, {"journal": 1})
    assert seen.eta_s is None  # nobody knows how many there are


def test_how_far_it_is_can_be_read():
    clock = Clock()
    tally = Tally(4_000, clock=clock)
    counted(tally, clock, 1_198, 0.1)
    tally.add(Result(error=Invalid("no", raw="x"), usage=Usage(cost=0.5)))
    tally.add(Result(value=1, origin="journal"))
    assert str(tally.snapshot()) == (
        "1,200 of 4,000 rows (30%), 1 failed (Invalid 1), not asked: journal 1, "
        "10.1 rows/s, 100 tokens/s in, 50.0 out, 4 min 37 s left"
    )
    assert ended(tally.snapshot()) == (
        "1,200 of 4,000 rows (30%), 1 failed (Invalid 1), not asked: journal 1 in 2 min 0 s, "
        "10.0 rows/s, 100 tokens/s in, 50.0 out"
    )


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.04, "0.0 s"), (9.94, "9.9 s"), (59, "59 s"), (61, "1 min 1 s"), (7_384, "2 h 3 min")],
)
def test_times_are_short(seconds: float, text: str):
    clock = Clock()
    tally = Tally(None, clock=clock)
    clock.now += seconds
    tally.add(Result(value=1, attempts=1, usage=Usage(input_tokens=1, cost=12.3456)))
    line = ended(tally.snapshot())
    assert line.startswith(f"1 row in {text}, ") and line.endswith(", $12.35")


def test_a_summary_can_be_read():
    rows = [
        *[Result(value=1, attempts=1, latency_s=0.5, usage=Usage(input_tokens=9, cost=0.25))]
        * 1995,
        Result(value=1, attempts=3, latency_s=2, usage=Usage(output_tokens=7), clipped=("$.a",)),
        *[Result(value=1, origin="journal")] * 2,
        Result(error=Invalid("no", raw="x"), attempts=1),
        Result(value=1, origin="shared"),
    ]
    assert str(summarized(rows, wall_s=10)).splitlines() == [
        "rows:      2,000, 99.9% valid",
        "errors:    Invalid 1",
        "not asked: journal 2, shared 1",
        "attempts:  1,999; 1 row needed more than one",
        "tokens:    17,955 in (0 cached), 7 out",
        "cost:      not known of 1 row",
        "latency:   0.500 s median, 0.500 s for 95%, 2.000 s at most",
        "time:      10.00 s, 200 rows/s",
        "clipped:   1 row",
    ]
    assert "cost:      $498.75" in str(summarized(rows[:1995], wall_s=10))
    assert "rows:      1,995, 100.0% valid" in str(summarized(rows[:1995], wall_s=10))


def test_no_rows_are_no_share_of_anything():
    summary = summarized([], wall_s=0)
    assert (summary.validity, summary.latency_p50_s, summary.rows_per_s) == (None, None, 0)
    assert str(summary).startswith("rows:      0\n")
    assert str(Tally(0).snapshot()).startswith("0 of 0 rows, ")
