"""How fast a quota lets requests go: laws of it, over a service that meters them, in no time."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Iterable
from itertools import accumulate, chain, cycle, islice, repeat

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.engines.metered import MINUTE_S, Metered, in_no_time, now, request_of
from typedllm.engines import quotas
from typedllm.engines.allowances import Allowance
from typedllm.engines.limited import Limited
from typedllm.engines.quota import Quota, RateLimit, Turn
from typedllm.engines.quotas import quota_of
from typedllm.errors import EngineError, UsageError
from typedllm.records import Failure, Request, Usage

SIZES = st.lists(st.tuples(st.integers(1, 400), st.integers(1, 200)), min_size=1, max_size=8)


async def work(
    service: Metered, quota: Quota, requests: Iterable[Request], until_s: float, workers: int = 256
) -> None:
    """Ask for so long, as a batch does: what is refused is asked again, after its wait."""
    limited, source = Limited(service, quota), iter(requests)

    async def worker() -> None:
        for request in source:
            while isinstance(reply := await limited.send(request), Failure):
                assert isinstance(reply.error, EngineError)
                await asyncio.sleep(reply.error.retry_after_s or 0)

    all_of_them = asyncio.gather(*(worker() for _ in range(workers)))
    try:
        async with asyncio.timeout(until_s):
            await all_of_them
    except TimeoutError:
        pass


def endless(sizes: list[tuple[int, int]]) -> Iterable[Request]:
    made = [request_of(tokens_in=i, tokens_out=o, max_tokens=o) for i, o in sizes]
    return chain.from_iterable(repeat(made))


def over(taken: list[tuple[float, float]], per_minute: float) -> float:
    """By how much what was taken is over what flows in, in the worst of all windows."""
    sums = list(accumulate((amount for _, amount in taken), initial=0.0))
    least, worst = float("inf"), 0.0
    for position, (at, _) in enumerate(taken):
        least = min(least, sums[position] - at * per_minute / MINUTE_S)
        worst = max(worst, sums[position + 1] - at * per_minute / MINUTE_S - least)
    return worst


@pytest.mark.slow
@settings(max_examples=15)
@given(
    requests=st.integers(20, 600),
    tokens=st.integers(2_000, 60_000),
    sizes=SIZES,
    latency_s=st.floats(0.05, 20),
)
def test_no_window_takes_more_than_its_share_and_a_burst_and_nearly_all_is_used(
    requests: int, tokens: int, sizes: list[tuple[int, int]], latency_s: float
):
    service = Metered(requests=1e9, tokens=1e9, latency_s=latency_s, tells=False)
    rate = RateLimit(requests_per_minute=requests, tokens_per_minute=tokens, in_flight=1000)
    in_no_time(work(service, Quota(rate, clock=now), endless(sizes), 120, workers=1200))
    largest = max(i + o for i, o in sizes)
    taken_requests = [(at, 1.0) for at, _ in service.taken]
    taken_tokens = [(at, float(amount)) for at, amount in service.taken]
    assert over(taken_requests, requests) <= max(1, requests / MINUTE_S) + 1e-3
    assert over(taken_tokens, tokens) <= max(tokens / 6, largest) + 1e-3
    used = [len(service.taken) / (2 * requests), sum(a for _, a in taken_tokens) / (2 * tokens)]
    most_at_once = largest / (2 * tokens) + 1 / (2 * requests)  # what the end cuts off
    assert max(used) >= 0.9 - most_at_once


@pytest.mark.slow
@settings(max_examples=15)
@given(
    requests=st.integers(60, 600),
    tokens=st.integers(5_000, 60_000),
    sizes=SIZES,
    latency_s=st.floats(0.05, 5),
    room=st.none() | st.floats(1, 4),
)
def test_what_the_service_tells_is_enough(
    requests: int, tokens: int, sizes: list[tuple[int, int]], latency_s: float, room: float | None
):
    """Without limits of ours, however long the answers might be."""
    service = Metered(requests=requests, tokens=tokens, latency_s=latency_s)
    made = [
        request_of(tokens_in=i, tokens_out=o, max_tokens=None if room is None else round(o * room))
        for i, o in sizes
    ]
    in_no_time(work(service, Quota(clock=now), cycle(made), 180))
    minutes = [(at, amount) for at, amount in service.taken if 60 <= at < 180]
    used = max(len(minutes) / requests, sum(amount for _, amount in minutes) / tokens) / 2
    mean = sum(i + o for i, o in sizes) / len(sizes)
    possible = 64 / (latency_s + 0.1) * MINUTE_S / max(requests, tokens / mean)
    assert used >= 0.9 * min(1.0, possible) - 0.05
    assert service.refused <= 64 + len(service.taken) / 100


def test_a_full_minute_of_a_large_limit_goes_at_once_where_the_service_allows_it():
    service = Metered(requests=600, tokens=1e9, latency_s=0.1)
    in_no_time(work(service, Quota(clock=now), islice(endless([(1, 1)]), 600), 60))
    assert len(service.taken) == 600
    assert service.taken[-1][0] < 2


def test_without_limits_nothing_waits():
    service = Metered(requests=1e9, tokens=1e9, latency_s=0, tells=False)

    async def main() -> float:
        await work(service, Quota(clock=now), islice(endless([(1, 1)]), 1000), 60)
        return now()

    assert in_no_time(main()) == 0


@pytest.mark.parametrize("latency_s", [0.0, 3.0])
def test_first_come_first_served(latency_s: float):
    service = Metered(requests=1e9, tokens=1e9, latency_s=latency_s, tells=False)
    quota = Quota(
        RateLimit(requests_per_minute=120, tokens_per_minute=3000, in_flight=4), clock=now
    )
    requests = [request_of(number, tokens_in=number % 50 + 1) for number in range(100)]
    in_no_time(work(service, quota, requests, 600))
    assert service.order == [str(number) for number in range(100)]


def test_who_gives_up_gives_back_his_place():
    service = Metered(requests=1e9, tokens=1e9, latency_s=0, tells=False)

    async def main() -> tuple[float, int]:
        quota = Quota(RateLimit(tokens_per_minute=600), clock=now)  # ten a second
        limited = Limited(service, quota)
        await limited.send(request_of("first", tokens_in=10, tokens_out=0, max_tokens=1))
        for waits_s in (0.01, 0.5):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(waits_s):
                    await limited.send(request_of("gives up", tokens_in=1000))
        large = asyncio.create_task(limited.send(request_of("large", tokens_in=1000)))
        small = asyncio.create_task(limited.send(request_of("small", tokens_in=1, max_tokens=1)))
        await asyncio.sleep(0.1)
        large.cancel()
        await small
        return now(), len(service.order)

    ended, sent = in_no_time(main())
    assert (sent, service.order) == (2, ["first", "small"])
    assert ended < 1


def test_a_wrong_estimate_is_put_right():
    service = Metered(requests=1e9, tokens=1e9, latency_s=1, tells=False)

    async def main() -> list[float]:
        quota = Quota(RateLimit(tokens_per_minute=6000), clock=now)  # a hundred a second
        limited = Limited(service, quota)
        times: list[float] = []
        for tokens_out in (0, 5000, 0):
            await limited.send(request_of(tokens_in=10, tokens_out=tokens_out, max_tokens=1000))
            times.append(now())
        return times

    first, second, third = in_no_time(main())
    assert first == pytest.approx(1.0)
    assert second == pytest.approx(2.0, abs=0.1)  # though 1,000 were taken for the first
    assert third == pytest.approx(
        2 + 4910 / 100 + 1, rel=0.05
    )  # 5,010 less what flowed in, and 100


def test_estimates_are_learned():
    service = Metered(requests=1e9, tokens=1e9, latency_s=0, tells=False)
    quota = Quota(clock=now)
    requests = repeat(request_of(tokens_in=10, tokens_out=500), 200)
    in_no_time(work(service, quota, requests, 60))
    turn = Turn(40, None)
    assert quota.goes_at_once(turn)
    _, tokens_in, tokens_out = turn.amounts
    assert tokens_in == pytest.approx(10, rel=0.01)
    assert tokens_out == pytest.approx(500, rel=0.01)  # and no more, since all were the same


def refusing(quota: Quota, retry_after_s: float | None) -> None:
    turn = Turn(0, 1)
    assert quota.goes_at_once(turn)
    quota.cool(turn, retry_after_s)
    quota.answered(turn, None)


class Clock:
    """Shows the time that it is set to."""

    at = 0.0

    def __call__(self) -> float:
        return self.at


def waits_s(quota: Quota) -> float:
    """How long the next one would have to wait."""
    turn = Turn(0, 1)
    quota.queue(turn, lambda: None)
    found = quota.wait_s(turn)
    if found:
        quota.leave(turn)
    else:
        quota.answered(turn, Usage())
    return found


def test_a_refusal_stops_all_until_it_says():
    clock = Clock()
    quota = Quota(RateLimit(requests_per_minute=60), clock=clock)
    refusing(quota, 7.0)
    assert not quota.goes_at_once(Turn(0, 1))
    assert waits_s(quota) == 7
    clock.at = 6.9
    assert waits_s(quota) == pytest.approx(0.1)
    clock.at = 7.0
    assert waits_s(quota) == pytest.approx(1.0)  # it begins empty
    clock.at = 8.0
    assert waits_s(quota) == 0


def test_refusals_of_one_storm_are_one():
    clock = Clock()
    quota = Quota(clock=clock)

    def storm(size: int) -> int:
        turns = [Turn(0, 1) for _ in range(size)]
        gone = [turn for turn in turns if quota.goes_at_once(turn)]
        for turn in gone:
            quota.cool(turn, None)
        for turn in gone:
            quota.answered(turn, None)
        return len(gone)

    assert storm(32) == 32
    assert storm(32) == 32  # one alone may be an accident, and stops nothing
    assert waits_s(quota) == 1
    clock.at = 1.0
    assert storm(32) == 16  # half of what was too much
    assert waits_s(quota) == 2  # and longer from time to time
    clock.at = 3.0
    assert storm(32) == 8  # an eighth of those that it likes is the least
    clock.at = 7.0
    assert storm(32) == 8
    clock.at = 15.0
    assert waits_s(quota) == 0
    refusing(quota, None)
    refusing(quota, None)  # after an answer it begins anew
    assert waits_s(quota) == 1


def test_a_wait_that_a_service_asks_for_is_the_longest_of_them():
    clock = Clock()
    quota = Quota(clock=clock)
    turns = [Turn(0, 1) for _ in range(3)]
    assert all(quota.goes_at_once(turn) for turn in turns)
    for turn, retry_after_s in zip(turns, (5.0, 9.0, 2.0), strict=True):
        quota.cool(turn, retry_after_s)
    assert waits_s(quota) == 9


def test_the_word_of_the_service_goes_before_our_count():
    clock = Clock()
    quota = Quota(clock=clock)
    turns = [Turn(0, 1) for _ in range(3)]
    assert all(quota.goes_at_once(turn) for turn in turns)
    quota.hear(turns[1], {"requests": Allowance(limit=60, remaining=1)})
    assert waits_s(quota) == pytest.approx(1)  # one more was sent since
    quota.hear(turns[0], {"requests": Allowance(limit=60, remaining=50)})
    assert waits_s(quota) == pytest.approx(1)  # that is older news
    quota.hear(turns[2], {"requests": Allowance(limit=60, remaining=2)})
    assert waits_s(quota) == 0


def test_a_limit_by_the_day_fills_by_the_day():
    clock = Clock()
    quota = Quota(clock=clock)
    turn = Turn(0, 1)
    assert quota.goes_at_once(turn)
    day_s = 86400.0
    quota.hear(turn, {"requests": Allowance(limit=1440, remaining=0, reset_s=day_s)})
    assert waits_s(quota) == pytest.approx(60)


def test_what_remains_of_an_unknown_limit_counts_where_the_caller_knows_it():
    clock = Clock()
    for rate, expected in ((None, 0), (RateLimit(requests_per_minute=60), 1)):
        quota = Quota(rate, clock=clock)
        turn = Turn(0, 1)
        assert quota.goes_at_once(turn)
        clock.at += 100
        quota.hear(turn, {"requests": Allowance(remaining=-100)})
        assert waits_s(quota) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("name", "value"),
    [("requests_per_minute", 0), ("tokens_per_minute", -1.0), ("in_flight", 0), ("in_flight", 1.5)],
)
def test_limits_are_checked(name: str, value: float):
    with pytest.raises(UsageError, match=rf"RateLimit\.{name}: expected a"):
        RateLimit(**{name: value})  # pyright: ignore[reportArgumentType]


def test_one_quota_for_all_that_have_the_same_key():
    first = quota_of("https://a.example/v1", "m", "sk-secret", RateLimit(in_flight=3))
    assert quota_of("https://a.example/v1", "m", "sk-secret") is first
    assert first.in_flight == 3
    again = quota_of("https://a.example/v1", "m", "sk-secret", RateLimit(in_flight=5))
    assert (again, first.in_flight) == (first, 5)
    others = [
        quota_of("https://b.example/v1", "m", "sk-secret"),
        quota_of("https://a.example/v1", "n", "sk-secret"),
        quota_of("https://a.example/v1", "m", "sk-other"),
        quota_of("https://a.example/v1", "m", None),
    ]
    assert len({id(each) for each in (first, *others)}) == 5
    assert "sk-secret" not in repr([vars(first), dict(vars(quotas))])


def test_a_quota_lasts_as_long_as_its_users():
    rate = RateLimit(in_flight=7)
    assert quota_of("https://c.example", "m", None, rate).in_flight == 7
    gc.collect()
    assert quota_of("https://c.example", "m", None).in_flight == 64
