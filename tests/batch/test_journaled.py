"""Batches with a journal, a cache or a budget, through the verbs."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sqlite3
import subprocess
import sys
import textwrap
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import AfterValidator, ValidationInfo

from typedllm import (
    LLM,
    Budget,
    EngineError,
    Invalid,
    NotAsked,
    Sampling,
    Scripted,
    UsageError,
)
from typedllm.attempts import Policy
from typedllm.batch import journal_file
from typedllm.batch.journal import Journal
from typedllm.batch.keys import Keys
from typedllm.batch.memory import Memory
from typedllm.errors import JournalError
from typedllm.records import Completion, Request, Result, Segment, Traits, Usage

ASKED = Traits(name="asked", takes=frozenset(), ending="may be cut", logprobs=False)
SPEC = {"n": "int"}
GREEDY = Sampling(temperature=0)
ONCE = Policy(attempts=1, repairs=0)


def asked(request: Request) -> str:
    return request.prompt[-1].text


def counting(capacity: int = 8, **given: Any) -> tuple[LLM, Counter[str]]:
    """An LLM that echoes numbers, and how often each was asked."""
    sent: Counter[str] = Counter()

    async def reply(request: Request) -> object:
        sent[asked(request)] += 1
        await asyncio.sleep(0)
        return {"n": int(asked(request))}

    return LLM(Scripted(reply, traits=ASKED, capacity=capacity), **given), sent


def numbers(*found: int) -> list[str]:
    return [str(number) for number in found]


def test_the_same_call_asks_nothing_again(tmp_path: Path):
    journal = tmp_path / "run.db"
    llm, sent = counting()
    first = llm.batch(numbers(*range(50)), SPEC, journal=journal)
    again = llm.batch(numbers(*range(50)), SPEC, journal=journal)
    assert first.values() == again.values() == [{"n": number} for number in range(50)]
    assert set(sent.values()) == {1}
    assert {result.origin for result in first} == {"asked"}
    assert {result.origin for result in again} == {"journal"}
    assert again.usage == first.usage


def test_inputs_may_have_grown_and_be_in_another_order(tmp_path: Path):
    journal = tmp_path / "run.db"
    llm, sent = counting()
    llm.batch(numbers(1, 2, 3), SPEC, journal=journal)
    grown = llm.batch(numbers(5, 3, 1, 4, 2), SPEC, journal=journal)
    assert grown.values() == [{"n": number} for number in (5, 3, 1, 4, 2)]
    assert [result.id for result in grown] == ["0", "1", "2", "3", "4"]
    assert sent == Counter(numbers(1, 2, 3, 4, 5))


@pytest.mark.parametrize(
    "changed",
    [
        {"system": "Be exact."},
        {"sampling": Sampling(max_tokens=9)},
        {"output_type": {"n": "int(ge=0)"}},
        {"template": "again: {{ user_prompt }}"},
    ],
)
def test_what_is_asked_otherwise_is_asked_again(tmp_path: Path, changed: dict[str, Any]):
    sent: list[str] = []

    def reply(request: Request) -> object:
        sent.append(asked(request))
        return {"n": 1}

    llm = LLM(Scripted(reply, traits=ASKED))
    llm.batch(["1"], SPEC, journal=tmp_path / "run.db")
    options = {"output_type": SPEC, **changed}
    llm.batch(["1"], options.pop("output_type"), journal=tmp_path / "run.db", **options)
    assert len(sent) == 2


def test_another_engine_is_asked_unless_its_answers_count_too(tmp_path: Path):
    journal = tmp_path / "run.db"
    counting()[0].batch(numbers(1, 2), SPEC, journal=journal)
    other = Scripted(lambda request: {"n": -1}, traits=replace(ASKED, name="b"))
    taken = LLM(other).batch(numbers(1, 2, 3), SPEC, journal=journal, any_engine=True)
    assert taken.values() == [{"n": 1}, {"n": 2}, {"n": -1}]
    assert [result.origin for result in taken] == ["journal", "journal", "asked"]
    anew = LLM(other).batch(numbers(1, 2), SPEC, journal=journal)
    assert anew.values() == [{"n": -1}, {"n": -1}]


def test_rows_whose_service_failed_are_asked_again_and_others_when_told_to(tmp_path: Path):
    journal = tmp_path / "run.db"
    good = {"1": {"n": 1}, "2": EngineError("down"), "3": {"n": "no number"}}
    sent: list[str] = []

    def reply(request: Request) -> object:
        sent.append(asked(request))
        return good[asked(request)]

    llm = LLM(Scripted(reply, traits=ASKED), policy=ONCE)
    first = llm.batch(numbers(1, 2, 3), SPEC, journal=journal)
    assert [type(result.error) for result in first] == [type(None), EngineError, Invalid]
    good |= {"2": {"n": 2}, "3": {"n": 3}}
    sent.clear()
    second = llm.batch(numbers(1, 2, 3), SPEC, journal=journal)
    assert second.values() == [{"n": 1}, {"n": 2}, None]
    assert str(second[2].error) == str(first[2].error)
    assert sent == ["2"]
    third = llm.batch(numbers(1, 2, 3), SPEC, journal=journal, retry_failed=True)
    assert third.values() == [{"n": 1}, {"n": 2}, {"n": 3}]
    assert sent == ["2", "3"]


def test_equal_rows_are_asked_once_where_their_answers_are_the_same(tmp_path: Path):
    llm, sent = counting(sampling=GREEDY)
    results = llm.batch(numbers(7, 7, 8, 7), SPEC)
    assert results.values() == [{"n": 7}, {"n": 7}, {"n": 8}, {"n": 7}]
    assert sent == Counter({"7": 1, "8": 1})
    assert [result.origin for result in results] == ["asked", "shared", "asked", "shared"]
    assert results.usage.output_tokens == 2 * results[0].usage.output_tokens
    assert [result.id for result in results] == ["0", "1", "2", "3"]


def test_equal_rows_of_a_journal_are_asked_once_whenever_they_come(tmp_path: Path):
    for capacity in (1, 8):
        llm, sent = counting(sampling=GREEDY, capacity=capacity)
        journal = tmp_path / f"{capacity}.db"
        first = llm.batch(numbers(7, 8, *[7] * 40), SPEC, journal=journal)
        assert sent == Counter({"7": 1, "8": 1})
        assert [result.origin for result in first] == ["asked", "asked", *["shared"] * 40]
        again = llm.batch(numbers(7, 8, *[7] * 40), SPEC, journal=journal)
        assert [result.origin for result in again] == ["journal", "journal", *["shared"] * 40]
        spent = first[0].usage + first[1].usage
        assert first.usage == again.usage == first.summary().usage == spent


def test_equal_rows_that_are_asked_again_are_asked_once(tmp_path: Path):
    sent: list[str] = []

    def reply(request: Request) -> object:
        sent.append(asked(request))
        return {"n": "no number"}

    llm = LLM(Scripted(reply, traits=ASKED, capacity=1), policy=ONCE, sampling=GREEDY)
    for count, retry_failed in enumerate((False, True, True), 1):
        results = llm.batch(["x"] * 5, SPEC, journal=tmp_path / "a", retry_failed=retry_failed)
        assert len(results.errors()) == 5
        assert len(sent) == count


def test_equal_rows_of_a_cache_cost_nothing_more(tmp_path: Path):
    llm, sent = counting(sampling=GREEDY, cache=tmp_path / "cache.db", capacity=1)
    results = llm.batch(numbers(7, 7, 7), SPEC)
    assert [result.origin for result in results] == ["asked", "shared", "shared"]
    assert results.usage == results[0].usage
    again = llm.batch(numbers(7, 7), SPEC)
    assert [result.origin for result in again] == ["cache", "shared"]
    assert sent == Counter({"7": 1})


def test_without_a_journal_equal_rows_are_asked_once_while_one_is_under_way():
    llm, sent = counting(sampling=GREEDY, capacity=2)
    results = llm.batch(numbers(7, 7, 8, 9, 10, 7, 7), SPEC)
    assert sent["7"] == [result.origin for result in results].count("asked") - 3
    assert 1 <= sent["7"] <= 2


def test_a_local_engine_is_greedy_by_itself(tmp_path: Path):
    with LLM() as llm:
        plain = llm.batch(["I am 25."] * 3, {"age": "int"})
        kept = llm.batch(["I am 25."] * 3, {"age": "int"}, journal=tmp_path / "run.db")
    assert [result.origin for result in plain] == ["asked"] * 3
    assert [result.origin for result in kept] == ["asked", "shared", "shared"]


@pytest.mark.parametrize("capacity", [1, 8])
def test_equal_rows_do_not_share_their_values(tmp_path: Path, capacity: int):
    llm, _ = counting(sampling=GREEDY, capacity=capacity)
    journal = tmp_path / "run.db"
    first, *others = llm.batch(numbers(7, 7, 7), SPEC, journal=journal)
    first.unwrap()["n"] = -1
    assert [result.value for result in others] == [{"n": 7}, {"n": 7}]


def test_whoever_waits_for_a_row_that_is_given_up_asks_one_at_a_time():
    most = there = 0

    async def main() -> list[int]:
        task = LLM(Scripted([], traits=ASKED)).asking(None, {}).task
        memory: Memory[Any] = Memory(task=task, keys=Keys(task), repeatable=True)
        turns = iter([asyncio.CancelledError(), asyncio.CancelledError(), None])

        async def ask() -> Result[Any]:
            nonlocal most, there
            there += 1
            most = max(most, there)
            await asyncio.sleep(0.001)
            there -= 1
            if error := next(turns):
                raise error
            return Result(value="x", raw="x", attempts=1, model="asked")

        prompt = (Segment(text="x"),)
        asked = [memory.result(prompt, str(row), ask) for row in range(9)]
        found = await asyncio.gather(*asked, return_exceptions=True)
        return [each.attempts if isinstance(each, Result) else -1 for each in found]

    assert sorted(asyncio.run(main())) == [-1, -1, *[0] * 6, 1]
    assert most == 1


def test_equal_rows_are_samples_where_their_answers_may_differ(tmp_path: Path):
    llm, sent = counting(sampling=Sampling(temperature=1))
    llm.batch(numbers(7, 7, 7), SPEC, journal=tmp_path / "run.db")
    assert sent == Counter({"7": 3})
    again = llm.batch(numbers(7, 7, 7, 7), SPEC, journal=tmp_path / "run.db")
    assert sent == Counter({"7": 4})
    assert [result.origin for result in again].count("asked") == 1


def test_a_value_that_is_none_any_more_is_replaced_by_whatever_comes(tmp_path: Path):
    sent: list[str] = []

    def reply(request: Request) -> object:
        sent.append(asked(request))
        return 1

    def is_less(value: int, info: ValidationInfo) -> int:
        assert info.context is not None and value < info.context
        return value

    kind = Annotated[int, AfterValidator(is_less)]
    llm = LLM(Scripted(reply, traits=ASKED), policy=ONCE)
    journal = tmp_path / "run.db"
    assert llm.batch(["x"], kind, journal=journal, validation_context=2).ok == 1
    first, second = (
        llm.batch(["x"], kind, journal=journal, validation_context=1)[0] for _ in range(2)
    )
    assert (first.origin, second.origin, len(sent)) == ("asked", "journal", 2)
    assert isinstance(first.error, Invalid) and isinstance(second.error, Invalid)


def test_any_engine_s_value_goes_before_its_error(tmp_path: Path):
    journal = tmp_path / "run.db"
    counting()[0].batch(["1"], SPEC, journal=journal)
    bad, other = (replace(ASKED, name=name) for name in ("bad", "other"))
    llm = LLM(Scripted(lambda _: {"n": "no"}, traits=bad), policy=ONCE)
    assert not llm.batch(["1"], SPEC, journal=journal).ok
    llm = LLM(Scripted([], traits=other))
    for retry_failed in (False, True):
        found = llm.batch(["1"], SPEC, journal=journal, any_engine=True, retry_failed=retry_failed)
        assert found.values() == [{"n": 1}]


def test_whoever_waits_for_an_equal_row_that_fails_gets_its_error_too():
    llm = LLM(Scripted(lambda request: EngineError("down"), traits=ASKED), policy=ONCE)
    results = llm.batch(numbers(7, 7), SPEC, sampling=GREEDY)
    assert [str(result.error) for result in results] == ["down", "down"]


def test_iter_batch_keeps_a_journal_too(tmp_path: Path):
    llm, _ = counting()
    endless = (str(number) for number in range(10**9))
    results = llm.iter_batch(endless, SPEC, journal=tmp_path / "run.db")
    first = [next(results) for _ in range(20)]
    results.close()
    assert all(result.ok for result in first)
    again = llm.batch([str(result.prompt) for result in first], SPEC, journal=tmp_path / "run.db")
    assert {result.origin for result in again} == {"journal"}


def test_classifications_have_a_journal(tmp_path: Path):
    with LLM() as llm:
        texts = ["I was billed twice.", "Where is my parcel?"]
        first = llm.classify_batch(texts, ["card", "parcel"], journal=tmp_path / "run.db")
        again = llm.classify_batch(texts, ["card", "parcel"], journal=tmp_path / "run.db")
    assert first.values() == again.values()
    for one, other in zip(first, again, strict=True):
        assert one.distribution() == other.distribution()
        assert other.origin == "journal"


def test_a_journal_that_another_run_writes_is_an_error_before_any_call(tmp_path: Path):
    llm, sent = counting()
    with Journal(tmp_path / "run.db"), pytest.raises(JournalError, match=r"run\.db"):
        llm.batch(["1"], SPEC, journal=tmp_path / "run.db")
    assert not sent


def test_what_is_no_journal_is_said(tmp_path: Path):
    (tmp_path / "notes.txt").write_text("Buy milk." * 1000)
    llm, sent = counting()
    with pytest.raises(JournalError, match=r"notes\.txt"):
        llm.batch(["1"], SPEC, journal=tmp_path / "notes.txt")
    with pytest.raises(UsageError, match="retry_failed"):
        llm.batch(["1"], SPEC, retry_failed=True)
    with pytest.raises(UsageError, match="expected the path of a file"):
        llm.batch(["1"], SPEC, journal=7)  # type: ignore[arg-type]
    assert not sent


def test_a_cache_answers_in_later_calls_of_any_kind(tmp_path: Path):
    llm, sent = counting(cache=tmp_path / "cache.db", sampling=GREEDY)
    assert llm.call("1", SPEC) == llm.call("1", SPEC) == {"n": 1}
    assert llm.run("1", SPEC).origin == "cache"
    results = llm.batch(numbers(1, 2), SPEC)
    assert [result.origin for result in results] == ["cache", "asked"]
    assert sent == Counter(numbers(1, 2))
    llm.close()
    later, sent = counting(cache=tmp_path / "cache.db", sampling=GREEDY)
    assert later.batch(numbers(2, 1), SPEC).values() == [{"n": 2}, {"n": 1}]
    assert not sent


def test_a_cache_gives_samples_in_the_order_in_which_they_were_taken(tmp_path: Path):
    def reply() -> LLM:
        turns = iter(range(10))
        script = Scripted(lambda request: {"n": next(turns)}, traits=ASKED)
        return LLM(script, cache=tmp_path / "cache.db")

    with reply() as llm:
        first = [llm.call("x", SPEC)["n"] for _ in range(3)]
    with reply() as llm:
        again = [llm.call("x", SPEC)["n"] for _ in range(4)]
    assert first == [0, 1, 2]
    assert again == [0, 1, 2, 0]  # the fourth is asked


def test_a_sample_that_the_journal_has_is_not_taken_from_the_cache_again(tmp_path: Path):
    def numbered() -> LLM:
        script = Scripted(lambda request: {"n": next(turns)}, traits=ASKED)
        return LLM(script, cache=tmp_path / "cache.db")

    turns = iter(range(10))
    with numbered() as llm:
        llm.batch(["x"] * 2, SPEC, journal=tmp_path / "run.db")
    with numbered() as llm:
        results = llm.batch(["x"] * 3, SPEC, journal=tmp_path / "run.db")
    assert sorted(result.unwrap()["n"] for result in results) == [0, 1, 2]


def test_errors_are_not_cached(tmp_path: Path):
    replies = iter([EngineError("down"), {"n": 1}])
    llm = LLM(Scripted(lambda _: next(replies), traits=ASKED), cache=tmp_path / "c.db", policy=ONCE)
    assert not llm.run("1", SPEC, sampling=GREEDY).ok
    assert llm.run("1", SPEC, sampling=GREEDY).ok


def test_what_a_fallback_answers_is_not_cached_as_the_first_engine_s(tmp_path: Path):
    replies = iter([EngineError("down"), {"n": 1}])
    first = Scripted(lambda _: next(replies), traits=ASKED)
    second = Scripted(lambda _: {"n": 2}, traits=replace(ASKED, name="other"))
    llm = LLM(first, fallback=[second], cache=tmp_path / "c.db", policy=ONCE, sampling=GREEDY)
    values = [(result := llm.run("x", SPEC)).value or result.error for _ in range(3)]
    assert values == [{"n": 2}, {"n": 1}, {"n": 1}]


def test_a_cache_that_cannot_be_written_loses_no_answer(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(journal_file, "_PATIENCE_S", 0.05)
    llm, sent = counting(cache=tmp_path / "c.db", sampling=GREEDY)
    other = sqlite3.connect(tmp_path / "c.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    assert llm.call("1", SPEC) == {"n": 1}
    assert llm.batch(numbers(1, 2), SPEC).values() == [{"n": 1}, {"n": 2}]
    told = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert len(told) == 1 and "c.db: another program holds it locked" in told[0]
    other.execute("ROLLBACK")
    other.close()
    before = sum(sent.values())
    llm.call("1", SPEC)
    assert llm.run("1", SPEC).origin == "cache"
    assert sum(sent.values()) == before + 1


def test_a_cache_that_cannot_be_read_loses_no_answer(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    llm, _ = counting(cache=tmp_path / "c.db", sampling=GREEDY)
    other = sqlite3.connect(tmp_path / "c.db", isolation_level=None)
    other.execute("DROP TABLE rows")
    other.close()
    assert llm.batch(numbers(1, 1, 2), SPEC).ok == 3
    assert llm.call("1", SPEC) == {"n": 1}
    assert len([record for record in caplog.records if "cache" in record.message]) == 1


def test_closing_an_llm_with_a_cache_loses_no_answer(tmp_path: Path):
    inside, closed = threading.Event(), threading.Event()

    async def reply(request: Request) -> object:
        inside.set()
        await asyncio.to_thread(closed.wait, 10)
        return {"n": 1}

    llm = LLM(Scripted(reply, traits=ASKED), cache=tmp_path / "c.db", sampling=GREEDY)
    with ThreadPoolExecutor(1) as pool:
        found = pool.submit(lambda: llm.call("1", SPEC))
        assert inside.wait(10)
        llm.close()
        closed.set()
        assert found.result(10) == {"n": 1}


def priced(request: Request) -> Completion:
    usage = Usage(input_tokens=10, output_tokens=10, cost=0.01)
    return Completion(text=f'{{"n":{asked(request)}}}', finish_reason="stop", usage=usage)


@pytest.mark.parametrize("budget", [Budget(tokens=100), Budget(dollars=0.05)])
def test_a_budget_stops_a_batch_and_a_journal_goes_on(tmp_path: Path, budget: Budget):
    llm = LLM(Scripted(priced, traits=ASKED, capacity=2))
    journal = tmp_path / "run.db"
    inputs = numbers(*range(20))
    results = llm.batch(inputs, SPEC, budget=budget, journal=journal)
    assert len(results) == 20
    done = [result for result in results if result.ok]
    assert 5 <= len(done) <= 6  # what was under way when it was spent is finished
    error = results[19].error
    assert isinstance(error, NotAsked)
    assert f" of {budget} are spent; " in str(error) and "run.db" in str(error)
    assert results[19].id == "19"
    rest = llm.batch(inputs, SPEC, journal=journal)
    assert rest.ok == 20
    assert sum(result.origin == "journal" for result in rest) == len(done)


def test_iter_batch_names_the_rows_of_a_list_that_a_budget_leaves():
    seen: list[int] = []
    llm = LLM(Scripted(priced, traits=ASKED, capacity=2))
    given: Any = {"budget": Budget(tokens=100), "progress": lambda at: seen.append(at.done)}
    results = list(llm.iter_batch(numbers(*range(20)), SPEC, **given))
    assert sorted(int(result.id or "") for result in results) == list(range(20))
    left = [result for result in results if isinstance(result.error, NotAsked)]
    assert len(left) >= 14 and results[-len(left) :] == left
    assert seen == list(range(1, 21))
    told = str(left[0].error)
    assert told.startswith("not asked, since ") and told.endswith("of Budget(tokens=100) are spent")


def test_a_budget_of_seconds_ends_an_endless_batch():
    async def slow(request: Request) -> object:
        await asyncio.sleep(0.02)
        return {"n": 1}

    llm = LLM(Scripted(slow, traits=ASKED, capacity=2))
    started = time.monotonic()
    count = sum(
        1 for _ in llm.iter_batch(iter(lambda: "x", None), SPEC, budget=Budget(seconds=0.2))
    )
    assert 2 <= count <= 40
    assert time.monotonic() - started < 5


def test_an_input_that_is_an_error_is_its_rows_error():
    llm, sent = counting()
    bad = UsageError("in.csv, line 3: byte 0xff is no UTF-8")
    results = llm.batch(["1", bad, "2"], SPEC)  # type: ignore[list-item]
    assert results.values() == [{"n": 1}, None, {"n": 2}]
    assert results[1].error is bad
    assert sum(sent.values()) == 2


def test_a_journal_that_cannot_be_written_any_more_ends_the_batch(tmp_path: Path):
    llm, sent = counting()
    journal = tmp_path / "run.db"
    llm.batch(numbers(1), SPEC, journal=journal)
    real = Journal.save

    async def full(self: Journal, *given: Any) -> None:
        if sum(sent.values()) > 20:
            raise JournalError("journal run.db: the disk is full")
        await real(self, *given)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Journal, "save", full)
        with pytest.raises(JournalError, match="disk is full"):
            llm.batch(numbers(*range(500)), SPEC, journal=journal)
    assert sum(sent.values()) < 60
    before = sum(sent.values())
    assert llm.batch(numbers(*range(500)), SPEC, journal=journal).ok == 500
    assert sum(sent.values()) - before <= 500 - 12


@settings(max_examples=30, deadline=None)
@given(
    first=st.lists(st.integers(0, 9), max_size=12),
    then=st.lists(st.integers(0, 9), max_size=12),
    greedy=st.booleans(),
)
def test_no_request_is_sent_more_often_than_needed(
    tmp_path_factory: pytest.TempPathFactory, first: list[int], then: list[int], greedy: bool
):
    journal = tmp_path_factory.mktemp("journal") / "run.db"
    llm, sent = counting(sampling=Sampling(temperature=0 if greedy else 1))
    for inputs in (first, then):
        results = llm.batch(numbers(*inputs), SPEC, journal=journal)
        assert results.values() == [{"n": number} for number in inputs]
    wanted = Counter(numbers(*first)) | Counter(numbers(*then))
    assert sent == (Counter(wanted.keys()) if greedy else wanted)


SCRIPT = """
    import sys, time
    from typedllm import LLM, Scripted
    from typedllm.records import Traits

    def reply(request):
        text = request.prompt[-1].text
        with open("sent.txt", "a") as file:
            file.write(text + "\\n")
        time.sleep(0.001)
        return {"n": int(text)}

    traits = Traits(name="asked", takes=frozenset(), ending="may be cut", logprobs=False)
    llm = LLM(Scripted(reply, traits=traits, capacity=8))
    print("begins", flush=True)
    results = llm.batch([str(n) for n in range(600)], {"n": "int"}, journal="run.db")
    assert results.values() == [{"n": n} for n in range(600)]
    print("done")
"""


def started(folder: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(SCRIPT)],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert process.stdout is not None and process.stdout.readline() == "begins\n"
    return process


@pytest.mark.slow
def test_ctrl_c_says_how_to_go_on(tmp_path: Path):
    process = started(tmp_path)
    time.sleep(0.25)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert "KeyboardInterrupt" in err and "done" not in out
    assert "of 600 rows; what came of them is in run.db: to go on, run the same again" in err
    done = len((tmp_path / "sent.txt").read_text().split())
    out, err = started(tmp_path).communicate(timeout=60)
    assert out == "done\n", err
    sent = Counter((tmp_path / "sent.txt").read_text().split())
    assert len(sent) == 600
    assert sum(sent.values()) <= 600 + 8 + min(done, 8)


@pytest.mark.slow
def test_a_killed_batch_goes_on(tmp_path: Path):
    random_ = random.Random(5)
    kills = 0
    while True:
        process = started(tmp_path)
        killer = threading.Timer(random_.uniform(0.02, 0.25), process.kill)
        killer.start()
        out, err = process.communicate(timeout=60)
        killer.cancel()
        if process.returncode == 0:
            break
        assert process.returncode == -signal.SIGKILL, err
        kills += 1
    assert kills >= 2
    assert out == "done\n"
    sent = Counter((tmp_path / "sent.txt").read_text().split())
    assert len(sent) == 600
    assert sum(sent.values()) <= 600 + 8 * kills * 2  # under way, or not yet durable
