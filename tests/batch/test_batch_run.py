"""Batches on the scripted engine, whose replies take turns in odd orders."""

from __future__ import annotations

import asyncio
import itertools
import random
import sqlite3
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from typedllm import LLM, EngineError, Invalid, Results, Scripted, UsageError
from typedllm.batch.tally import Snapshot
from typedllm.records import Request, Result

SPEC = {"n": "int"}


def asked(request: Request) -> str:
    last = request.prompt[-1]
    return last.text


async def echo(request: Request) -> object:
    """Answer with the number that was asked, after a moment that has nothing to do with it."""
    for _ in range(random.Random(asked(request)).randrange(6)):
        await asyncio.sleep(0)
    return {"n": int(asked(request))}


def echoing(capacity: int = 64) -> LLM:
    return LLM(Scripted(echo, capacity=capacity))


def test_results_keep_the_positions_of_a_thousand_rows_where_every_seventh_fails():
    async def reply(request: Request) -> object:
        number = int(asked(request))
        if number % 7 == 0:
            raise EngineError("no")
        return await echo(request)

    inputs = [str(number) for number in range(1000)]
    results = LLM(Scripted(reply)).batch(inputs, SPEC)
    assert len(results) == 1000
    for number, result in enumerate(results):
        assert result.id == str(number)
        if number % 7 == 0:
            assert isinstance(result.error, EngineError)
        else:
            assert result.unwrap() == {"n": number}
    assert list(results.errors()) == list(range(0, 1000, 7))
    assert results.ok == 857
    assert results.values()[6:9] == [{"n": 6}, None, {"n": 8}]


ROWS = st.lists(
    st.one_of(
        st.integers(0, 99).map(str),
        st.sampled_from(["bad", "\ud800"]),
        st.none(),
        st.floats(),
        st.just([]),
        st.just([{"role": "user", "content": "7"}]),
        st.just([{"role": "you", "content": "7"}]),
    ),
    max_size=30,
)


def expected(row: Any) -> int | type[Exception]:
    if row == [{"role": "user", "content": "7"}]:
        return 7
    if isinstance(row, str) and row.isdigit():
        return int(row)
    return EngineError if row == "bad" else UsageError


@settings(max_examples=30)
@given(ROWS, st.integers(1, 8), st.booleans())
def test_every_row_gets_its_own_outcome_whatever_the_others_are(
    inputs: list[Any], capacity: int, streamed: bool
):
    llm = echoing(capacity)
    if streamed:
        by_id = {result.id: result for result in llm.iter_batch(iter(inputs), SPEC)}
        results = [by_id[str(position)] for position in range(len(inputs))]
        assert len(by_id) == len(inputs)
    else:
        results = list(llm.batch(inputs, SPEC))
    for row, result in zip(inputs, results, strict=True):
        want = expected(row)
        if isinstance(want, int):
            assert result.unwrap() == {"n": want}
        else:
            assert isinstance(result.error, want)


def test_no_more_rows_are_in_flight_than_the_engine_likes():
    in_flight = most = 0

    async def reply(request: Request) -> object:
        nonlocal in_flight, most
        in_flight += 1
        most = max(most, in_flight)
        await asyncio.sleep(0.001)
        in_flight -= 1
        return {"n": 0}

    LLM(Scripted(reply, capacity=5)).batch([str(number) for number in range(40)], SPEC)
    assert most == 5


def test_ids_and_metadata_come_back_with_their_rows():
    llm = echoing()
    results = llm.batch(["1", "two"], SPEC, ids=["a", "b"], metadata=[{"page": 1}, {"page": 2}])
    assert [(row.id, row.metadata["page"], row.ok) for row in results] == [
        ("a", 1, True),
        ("b", 2, False),
    ]
    streamed = llm.iter_batch(map(str, range(3)), SPEC, ids=(f"r{n}" for n in range(3)))
    assert {row.id: row.unwrap()["n"] for row in streamed} == {"r0": 0, "r1": 1, "r2": 2}


@pytest.mark.parametrize("ids", [["a"], ["a", "b", "c"]])
def test_as_many_ids_as_inputs_are_needed(ids: list[str]):
    engine = Scripted(echo)
    with pytest.raises(UsageError, match="ids: "):
        LLM(engine).batch(["1", "2"], SPEC, ids=ids)
    assert engine.requests == []
    with pytest.raises(UsageError, match="ids: "):
        list(LLM(engine).iter_batch(iter(["1", "2"]), SPEC, ids=ids))


@pytest.mark.parametrize("inputs", ["one text", b"bytes", {"role": "user", "content": "x"}])
def test_a_single_prompt_is_no_batch(inputs: Any):
    llm = echoing()
    with pytest.raises(UsageError, match=r"write \[prompt\]"):
        llm.batch(inputs, SPEC)
    with pytest.raises(UsageError, match=r"write \[prompt\]"):
        llm.iter_batch(inputs, SPEC)


def test_what_concerns_all_rows_is_raised_before_any_call():
    engine = Scripted(echo)
    with pytest.raises(UsageError):
        LLM(engine).batch(["1"], {"n": "itn"})
    with pytest.raises(UsageError):
        LLM(engine).iter_batch(["1"], {"n": "itn"})
    assert engine.requests == []


def test_an_empty_batch_has_no_results():
    assert list(echoing().batch([], SPEC)) == []
    assert list(echoing().iter_batch(iter(()), SPEC)) == []


def test_iter_batch_yields_in_order_of_completion():
    others = asyncio.Semaphore(0)

    async def reply(request: Request) -> object:
        if asked(request) == "0":
            await others.acquire()
            await others.acquire()
            await asyncio.sleep(0.05)
        others.release()
        return {"n": int(asked(request))}

    order = [row.id for row in LLM(Scripted(reply)).iter_batch(["0", "1", "2"], SPEC)]
    assert order[-1] == "0"


def test_iter_batch_takes_endless_inputs_and_closing_it_cancels_what_is_in_flight():
    taken, cancelled = 0, 0
    in_flight = threading.Event()

    def inputs() -> Iterator[str]:
        nonlocal taken
        for number in itertools.count():
            taken += 1
            yield str(number)

    async def reply(request: Request) -> object:
        nonlocal cancelled
        if int(asked(request)) < 5:
            return {"n": 0}
        in_flight.set()
        try:
            return await asyncio.sleep(30)
        except asyncio.CancelledError:
            cancelled += 1
            raise

    rows = LLM(Scripted(reply, capacity=4)).iter_batch(inputs(), SPEC)
    assert len(list(itertools.islice(rows, 5))) == 5
    assert in_flight.wait(10)
    rows.close()
    assert cancelled > 0
    assert taken <= 5 + 2 * 4 + 1


def test_inputs_may_be_results_of_another_batch_on_the_way():
    llm = echoing(4)
    first = llm.iter_batch(map(str, range(10)), SPEC)
    second = llm.iter_batch((str(row.unwrap()["n"] + 100) for row in first), SPEC)
    assert sorted(row.unwrap()["n"] for row in second) == list(range(100, 110))


def test_results_do_not_wait_for_slow_inputs():
    release = threading.Event()

    def inputs() -> Iterator[str]:
        yield "1"
        release.wait(10)
        yield "2"

    started = time.monotonic()
    rows = echoing().iter_batch(inputs(), SPEC)
    assert next(rows).unwrap() == {"n": 1}
    release.set()
    assert next(rows).unwrap() == {"n": 2}
    assert time.monotonic() - started < 9


def test_inputs_that_fail_raise_after_the_rows_that_were_taken():
    def inputs() -> Iterator[str]:
        yield from ("1", "2")
        raise sqlite3.OperationalError("disk")

    rows = echoing().iter_batch(inputs(), SPEC)
    got: list[Result[Any]] = []
    with pytest.raises(sqlite3.OperationalError, match="disk"):
        for row in rows:
            got.append(row)
    assert sorted(row.unwrap()["n"] for row in got) == [1, 2]


@pytest.mark.parametrize("error", [SystemExit(3), asyncio.CancelledError()])
def test_inputs_that_give_up_end_the_batch_too(error: BaseException):
    def inputs() -> Iterator[str]:
        yield "1"
        raise error

    llm = echoing()
    with pytest.raises(type(error)):
        list(llm.iter_batch(inputs(), SPEC))
    assert llm.call("2", SPEC) == {"n": 2}


@pytest.mark.parametrize(
    ("beside", "told"),
    [
        ({"ids": ["a", "\ud800"]}, r"ids\[1\]: a lone surrogate \(U\+D800\) at character 0"),
        ({"metadata": [{}, None]}, r"metadata\[1\]: expected a mapping, got one NoneType"),
        ({"metadata": [{}, "page 2"]}, r"metadata\[1\]: expected a mapping, got one str"),
    ],
)
def test_an_id_that_is_no_text_and_metadata_that_are_none_are_named(beside: Any, told: str):
    engine = Scripted(echo)
    with pytest.raises(UsageError, match=told):
        LLM(engine).batch(["1", "2"], SPEC, **beside)
    assert engine.requests == []


async def test_cancelling_abatch_cancels_its_rows():
    begun, cancelled = 0, 0

    async def reply(request: Request) -> object:
        nonlocal begun, cancelled
        begun += 1
        try:
            return await asyncio.sleep(30)
        except asyncio.CancelledError:
            cancelled += 1
            raise

    inputs = [str(number) for number in range(9)]
    batch = asyncio.ensure_future(LLM(Scripted(reply, capacity=3)).abatch(inputs, SPEC))
    while begun < 3:
        await asyncio.sleep(0.001)
    batch.cancel()
    with pytest.raises(asyncio.CancelledError):
        await batch
    assert (begun, cancelled) == (3, 3)


async def test_aiter_batch_runs_on_the_callers_own_loop():
    loops: set[asyncio.AbstractEventLoop] = set()

    async def reply(request: Request) -> object:
        loops.add(asyncio.get_running_loop())
        return {"n": 1}

    rows = LLM(Scripted(reply)).aiter_batch(iter(["a", "b"]), SPEC)
    assert [row.unwrap() async for row in rows] == [{"n": 1}] * 2
    assert loops == {asyncio.get_running_loop()}


def test_the_time_limit_is_each_rows_own():
    async def reply(request: Request) -> object:
        await asyncio.sleep(30 if asked(request) == "slow" else 0)
        return {"n": 1}

    llm = LLM(Scripted(reply, capacity=1), timeout_s=1)
    results = llm.batch(["slow", "x", "slow", "x"], SPEC)
    assert [row.ok for row in results] == [False, True, False, True]


def test_progress_is_told_after_each_row():
    told: list[tuple[int, int | None]] = []

    def tell(snapshot: Snapshot) -> None:
        told.append((snapshot.done, snapshot.total))

    echoing().batch(["1", "2", "3"], SPEC, progress=tell)
    assert told == [(1, 3), (2, 3), (3, 3)]
    told.clear()
    list(echoing().iter_batch((str(number) for number in range(2)), SPEC, progress=tell))
    assert told == [(1, None), (2, None)]


def test_progress_true_tells_how_far_it_came(capsys: pytest.CaptureFixture[str]):
    echoing().batch(["1", "2"], SPEC, progress=True)
    out, err = capsys.readouterr()
    assert out == "" and "2 of 2 rows" in err


def test_results_are_a_sequence_and_sum_up():
    results = echoing().batch(["1", "no", "3"], SPEC)
    assert isinstance(results, Results)
    assert [row.ok for row in results[1:]] == [False, True]
    assert results[-1].unwrap() == {"n": 3}
    assert results.usage.output_tokens == 2
    assert repr(results).startswith("Results(2 of 3 valid; ")
    assert "2 out" in repr(results)
    assert results.wall_s > 0


def test_an_invalid_row_is_its_own_error():
    results = LLM(Scripted([{"n": 1}, {"n": "x"}, {"n": 3}], capacity=1)).batch(["a", "c"], SPEC)
    assert isinstance(results.errors().get(1), Invalid)


def test_rows_that_wait_for_another_attempt_hold_up_no_other():
    waiting: set[str] = set()
    begun: list[str] = []

    async def reply(request: Request) -> object:
        text = asked(request)
        begun.append(text)
        if text in ("0", "1") and text not in waiting:
            waiting.add(text)
            raise EngineError("busy", retryable=True, retry_after_s=0.3)
        return {"n": int(text)}

    llm = LLM(Scripted(reply, capacity=2))
    started = time.monotonic()
    results = llm.batch([str(number) for number in range(40)], SPEC)
    assert results.values() == [{"n": number} for number in range(40)]
    assert time.monotonic() - started < 5
    # both slots were free for the others while the first two waited
    assert sorted(begun[-2:]) == ["0", "1"]


def test_a_row_whose_time_is_over_while_it_waits_takes_no_slot():
    async def reply(request: Request) -> object:
        await asyncio.sleep(0.01)
        raise EngineError("busy", retryable=True, retry_after_s=0.05)

    results = LLM(Scripted(reply, capacity=1)).batch(["1", "2", "3"], SPEC, timeout_s=0.2)
    assert len(results.errors()) == 3
