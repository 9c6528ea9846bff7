"""The journal: what was saved is there, whatever happens to the process, the disk or the file."""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from typedllm import Usage, UsageError
from typedllm.batch import journal_file
from typedllm.batch.cache import Cache
from typedllm.batch.journal import Journal
from typedllm.batch.journal_file import open_to_write
from typedllm.batch.journal_report import export, status
from typedllm.batch.keys import Key
from typedllm.batch.saved import Saved
from typedllm.batch.store import Store
from typedllm.batch.writer import Write, Writer
from typedllm.errors import JournalError

USAGE = Usage(input_tokens=3, output_tokens=2, cached_tokens=1, cost=0.5)


def kept(
    rest: object = "", error: str | None = None, status: str = "", usage: Usage = USAGE
) -> Saved:
    told = {"error": {"message": "so"}} if error else {}
    found: str = status or ("invalid" if error else "valid")
    return Saved(
        status=found,  # type: ignore[arg-type]
        error=error,
        usage=usage,
        rest=json.dumps({"raw": rest, **told}, ensure_ascii=False),
    )


def key(number: int, engine: str = "e", occurrence: int = 0) -> Key:
    return Key(request=f"{number:032x}", engine=engine, occurrence=occurrence)


async def save_all(store: Store, rows: Sequence[tuple[Key, Saved]]) -> None:
    await asyncio.gather(*(store.save(key, f"row {key.request}", each) for key, each in rows))


def save(store: Store, key: Key, each: Saved) -> None:
    asyncio.run(save_all(store, [(key, each)]))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run.db"


def test_what_was_saved_is_found(path: Path):
    with Journal(path) as journal:
        assert journal.find(key(1)) is None
        save(journal, key(1), kept("a"))
        assert journal.find(key(1)) == kept("a")
        assert journal.find(key(2)) is None
        assert journal.find(key(1, "f")) is None
        assert journal.find(key(1, occurrence=1)) is None
    with Journal(path) as journal:
        assert journal.find(key(1)) == kept("a")


@pytest.mark.parametrize("text", ["", "é\x00\n", "\ud800", "\ud83d\ude00", "😀"])
def test_every_text_survives(path: Path, text: str):
    each = Saved(status="valid", error=None, usage=Usage(), rest=text)
    with Journal(path) as journal:
        save(journal, key(1), each)
        assert journal.find(key(1)) == each


def test_a_failure_of_the_service_is_not_finished(path: Path):
    failed, invalid = kept(error="EngineError", status="failed"), kept(error="Invalid")
    with Journal(path) as journal:
        save(journal, key(1), failed)
        save(journal, key(2), invalid)
        assert journal.find(key(1)) is None
        assert journal.find(key(2)) == invalid
        assert journal.find(key(2), retry_failed=True) is None
        assert journal.find_elsewhere(key(2).request) == invalid
        assert journal.find_elsewhere(key(2).request, retry_failed=True) is None
        save(journal, key(1), kept("a"))
        assert journal.find(key(1), retry_failed=True) == kept("a")


def test_an_error_never_takes_the_place_of_a_value(path: Path):
    with Journal(path) as journal:
        for each in (kept("a"), kept(error="Invalid"), kept(error="EngineError", status="failed")):
            save(journal, key(1), each)
        assert journal.find(key(1)) == kept("a")
        save(journal, key(1), kept("b"))
        assert journal.find(key(1)) == kept("b")


def test_the_newest_answer_of_any_engine_is_found(path: Path):
    with Journal(path) as journal:
        assert journal.find_elsewhere(key(1).request) is None
        save(journal, key(1, "e"), kept("a"))
        save(journal, key(1, "f"), kept("b"))
        save(journal, key(1, "g"), kept(error="EngineError", status="failed"))
        assert journal.find_elsewhere(key(1).request) == kept("b")
        assert journal.find_elsewhere(key(1).request, 1) is None
        save(journal, key(1, "e"), kept("c"))
        assert journal.find_elsewhere(key(1).request) == kept("c")


def test_a_value_of_any_engine_goes_before_a_later_error(path: Path):
    with Journal(path) as journal:
        save(journal, key(1, "e"), kept("a"))
        save(journal, key(1, "f"), kept(error="Invalid"))
        for retry_failed in (False, True):
            found = journal.find_elsewhere(key(1).request, retry_failed=retry_failed)
            assert found == kept("a")


def test_what_is_replaced_is_gone_whatever_comes(path: Path):
    with Journal(path) as journal:
        save(journal, key(1), kept("a"))
        asyncio.run(journal.replace(key(1), "1", kept(error="Invalid")))
        assert journal.find(key(1)) == kept(error="Invalid")
    assert status(path).invalid == 1


@pytest.mark.parametrize("tokens", [1 << 62, 1 << 70, -1 << 70, 1e300])
def test_a_count_that_no_service_can_mean_harms_nothing(path: Path, tokens: Any):
    with Journal(path) as journal:
        for number in range(20):
            save(journal, key(number), kept(usage=Usage(input_tokens=tokens)))
        assert journal.find(key(1)) is not None
    assert status(path).valid == 20


def test_who_waits_is_told_whatever_a_write_meets(path: Path):
    statement = "INSERT INTO meta VALUES (?, ?)"

    async def write(writer: Writer, *values: object) -> list[BaseException | None]:
        waiters = [asyncio.get_running_loop().create_future() for _ in values]
        for each, (name, waiter) in zip(values, enumerate(waiters), strict=True):
            writer.put(Write(statement=statement, values=(str(name), each), waiter=waiter))
        async with asyncio.timeout(5):
            return await asyncio.gather(*waiters, return_exceptions=True)

    connection = open_to_write(path, synchronous="FULL")
    writer = Writer(connection, path, lambda _: None)
    first, bad, last = asyncio.run(write(writer, "a", 1 << 70, "b"))
    assert first is last is None
    assert isinstance(bad, JournalError)
    assert "run.db: a row has what it cannot keep; what was saved before is safe" in str(bad)
    assert isinstance(asyncio.run(write(writer, "c"))[0], JournalError)  # whose name is there
    writer.close()
    other = sqlite3.connect(path)
    assert [*other.execute("SELECT value FROM meta WHERE name < 'f' ORDER BY name")] == [
        ("a",),
        ("b",),
    ]
    other.close()


def test_it_is_used_from_many_threads_and_loops(path: Path):
    with Journal(path) as journal:

        def work(first: int) -> None:
            rows = [(key(number), kept(str(number))) for number in range(first, first + 50)]
            asyncio.run(save_all(journal, rows))
            for each, saved in rows * 5:
                assert journal.find(each) == saved
            done.append(first)

        done: list[int] = []
        threads = [threading.Thread(target=work, args=(50 * at,)) for at in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(done) == 8
    assert status(path).valid == 400


def test_closing_writes_what_waits_and_may_be_done_twice(path: Path):
    async def leave() -> None:
        tasks = [
            asyncio.create_task(journal.save(key(number), "", kept())) for number in range(3_000)
        ]
        await asyncio.sleep(0)  # all of them are begun, and none is waited for
        journal.close()
        for task in tasks:
            task.cancel()

    journal = Journal(path)
    asyncio.run(leave())
    journal.close()
    assert status(path).valid == 3_000
    with pytest.raises(JournalError, match=r"run\.db: it is closed: open it again"):
        save(journal, key(1), kept())
    with pytest.raises(JournalError, match=r"run\.db: it cannot be used; .*closed"):
        journal.find(key(1))


def test_who_gives_up_harms_nobody(path: Path):
    async def some(journal: Journal) -> None:
        tasks = [asyncio.create_task(journal.save(key(n), "", kept())) for n in range(9)]
        await asyncio.sleep(0)
        for task in tasks[::2]:
            task.cancel()
        done = await asyncio.gather(*tasks, return_exceptions=True)
        assert done[1::2] == [None] * 4

    async def none(journal: Journal) -> None:  # the loop is closed before it is told
        asyncio.get_running_loop().call_soon(asyncio.create_task, journal.save(key(9), "", kept()))
        await asyncio.sleep(0)

    with Journal(path) as journal:
        asyncio.run(some(journal))
        asyncio.run(none(journal))
        save(journal, key(10), kept())
    assert status(path).valid >= 10


def test_an_id_that_is_no_text_is_its_row_s_error(path: Path):
    with Journal(path) as journal:
        with pytest.raises(UsageError, match="id: a lone surrogate"):
            asyncio.run(journal.save(key(1), "\ud800", kept()))
        save(journal, key(1), kept())


# --- whose file it is


def test_a_second_run_is_told_and_may_look_meanwhile(path: Path):
    with Journal(path) as journal:
        save(journal, key(1), kept())
        with pytest.raises(
            JournalError, match=r"run\.db: another run .*: wait.*close its iterator"
        ):
            Journal(path)
        code = f"from typedllm.batch.journal import Journal\nJournal({str(path)!r})"
        run = subprocess.run(
            [sys.executable, "-c", code], check=False, capture_output=True, text=True
        )
        assert "JournalError: journal" in run.stderr
        assert "another run writes it" in run.stderr
        assert status(path).valid == 1
        assert export(path, path.with_suffix(".jsonl")) == 1
        save(journal, key(2), kept())
    with Journal(path) as journal:
        assert journal.find(key(2))


def _in_child(journal: Journal, results: multiprocessing.Queue[str]) -> None:
    for use in (lambda: journal.find(key(1)), lambda: save(journal, key(2), kept())):
        try:
            use()
        except JournalError as error:
            results.put(str(error))
    journal.close()


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_process_that_is_forked_off_neither_writes_nor_reads(path: Path):
    context = multiprocessing.get_context("fork")
    results: multiprocessing.Queue[str] = context.Queue()
    with Journal(path) as journal:
        save(journal, key(1), kept())
        child = context.Process(target=_in_child, args=(journal, results))
        child.start()
        told = [results.get(timeout=20) for _ in range(2)]
        child.join(20)
        assert child.exitcode == 0
        assert all("it was opened before this process was forked off" in each for each in told)
        with pytest.raises(JournalError, match="another run"):  # the child took no lock with it
            Journal(path)
        save(journal, key(2), kept())
        assert journal.find(key(2))
    assert whole(path) == 2


# --- the disk and the file


def whole(path: Path) -> int:
    """See that a file is not damaged, and count its rows."""
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    (count,) = connection.execute("SELECT count(*) FROM rows").fetchone()
    connection.close()
    return count


class Full(Journal):
    """A journal whose disk is full after the first rows, until there is room."""

    room = False

    def _committed(self, connection: sqlite3.Connection) -> None:
        pages = 1_000_000 if self.room else 1  # which SQLite raises to what is there
        connection.execute(f"PRAGMA max_page_count = {pages}")


def test_a_full_disk_is_told_and_loses_nothing(path: Path):
    with Full(path) as journal:
        save(journal, key(0), kept())
        told: list[BaseException | None] = []

        async def fill() -> None:
            rows = [journal.save(key(n), "", kept("x" * 2_000)) for n in range(1, 20)]
            told.extend(await asyncio.gather(*rows, return_exceptions=True))

        asyncio.run(fill())
        failures = [each for each in told if isinstance(each, JournalError)]
        assert failures
        assert "run.db: the disk is full: make room, and run the same again" in str(failures[0])
        assert "what was saved before is safe" in str(failures[0])
        finished = [n for n, each in enumerate(told, start=1) if each is None]
        assert all(journal.find(key(n)) for n in [0, *finished])
    assert whole(path) == 1 + len(finished)
    with Journal(path) as journal:
        save(journal, key(99), kept("x" * 2_000))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(folder)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("only who may mount can make a disk of a few kilobytes")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_small_disk_that_becomes_full_loses_nothing(small_disk: Path):
    path, durable = small_disk / "run.db", 0
    with Journal(path) as journal:
        with pytest.raises(JournalError, match=r"run\.db: .*what was saved before is safe"):
            for number in range(1_000):
                save(journal, key(number), kept("x" * 4_000))
                durable = number + 1
        assert durable > 10
        assert all(journal.find(key(number)) for number in range(durable))
    assert status(path).valid == durable


def test_a_locked_file_is_told(path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(journal_file, "_PATIENCE_S", 0.1)
    with Journal(path) as journal:
        save(journal, key(1), kept())
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(JournalError, match=r"run\.db: another program holds it locked: end"):
            save(journal, key(2), kept())
        other.execute("ROLLBACK")
        other.close()
        save(journal, key(2), kept())
        assert journal.find(key(1))
        assert journal.find(key(2))


@pytest.mark.parametrize("content", [b"a,b\n1,2\n", b"x" * 5_000])
def test_a_file_of_another_kind_is_left_as_it_is(path: Path, content: bytes):
    path.write_bytes(content)
    for use in (Journal, status):
        with pytest.raises(JournalError, match=r"run\.db: it is no journal, and was left as it is"):
            use(path)
    assert path.read_bytes() == content
    assert list(path.parent.iterdir()) == [path]


def test_a_database_of_another_program_is_left_as_it_is(path: Path):
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE meta (a)")
    other.close()
    content = path.read_bytes()
    with pytest.raises(JournalError, match="it is no journal"):
        Journal(path)
    assert path.read_bytes() == content


def test_an_empty_file_becomes_a_journal(path: Path):
    path.touch()
    with Journal(path) as journal:
        save(journal, key(1), kept())
        assert journal.find(key(1)) == kept()


def test_a_newer_format_is_told(path: Path):
    Journal(path).close()
    other = sqlite3.connect(path)
    other.execute("UPDATE meta SET value = 99 WHERE name = 'format'")
    other.execute("UPDATE meta SET value = 'typedllm 7.0' WHERE name = 'written by'")
    other.commit()
    other.close()
    for use in (Journal, status):
        with pytest.raises(
            JournalError, match=r"format is 99, by typedllm 7\.0, and .* knows 1: up"
        ):
            use(path)


def test_a_damaged_file_is_told(path: Path):
    with Journal(path) as journal:
        rows = [(key(number), kept("x" * 500)) for number in range(200)]
        asyncio.run(save_all(journal, rows))
    content = bytearray(path.read_bytes())
    content[5 * 4096 :] = b"\xff" * (len(content) - 5 * 4096)
    path.write_bytes(content)
    with Journal(path) as journal:
        with pytest.raises(JournalError, match=r"run\.db: it is damaged: .*\.recover"):
            [journal.find(each) for each, _ in rows]
        with pytest.raises(JournalError, match="it is damaged"):
            asyncio.run(save_all(journal, rows))
    with pytest.raises(JournalError, match="it is damaged"):
        export(path, path.with_suffix(".jsonl"))


def test_a_folder_that_is_not_there_is_told(tmp_path: Path):
    with pytest.raises(JournalError, match=r"none/run\.db: it cannot be opened: see that its"):
        Journal(tmp_path / "none" / "run.db")
    with pytest.raises(JournalError, match=r"run\.db: there is no such file"):
        status(tmp_path / "run.db")
    with pytest.raises(JournalError, match=r"run\.db: there is no such file"):
        export(tmp_path / "run.db", tmp_path / "run.jsonl")
    assert list(tmp_path.iterdir()) == []


# --- what it holds


def test_status_counts(path: Path):
    before = datetime.now(UTC)
    with Journal(path) as journal:
        empty = status(path)
        assert (empty.valid, empty.first, empty.last, empty.errors) == (0, None, None, {})
        assert empty.usage == Usage()
        for number, each in enumerate(
            [
                kept("a"),
                kept("b"),
                kept(error="Invalid"),
                kept(error="Truncated"),
                kept(error="Truncated"),
                kept(error="EngineError", status="failed", usage=Usage()),
            ]
        ):
            save(journal, key(number), each)
        found = status(path)
    assert (found.valid, found.invalid, found.failed) == (2, 3, 1)
    assert found.errors == {"Truncated": 2, "Invalid": 1, "EngineError": 1}
    assert next(iter(found.errors)) == "Truncated"
    assert found.usage == Usage(input_tokens=15, output_tokens=10, cached_tokens=5, cost=2.5)
    assert found.first and found.last
    assert before <= found.first <= found.last <= datetime.now(UTC)


def test_a_cost_that_is_not_known_of_each_row_is_not_known(path: Path):
    with Journal(path) as journal:
        save(journal, key(1), kept())
        save(journal, key(2), kept(usage=Usage(input_tokens=1)))
    assert status(path).usage == Usage(input_tokens=4, output_tokens=2, cached_tokens=1, cost=None)


def test_export_writes_a_line_for_each_row(path: Path):
    to = path.with_suffix(".jsonl")
    texts = [
        {"raw": '{"a": 1}'},
        {"raw": '```{"a": 1}```', "text": '{"a": 1}'},
        {"raw": "12", "plain": True},
        {"raw": '"\ud800"'},
        {"raw": "9" * 5_000},
    ]
    with Journal(path) as journal:
        for number, rest in enumerate(texts):
            each = Saved(
                status="valid", error=None, usage=USAGE, rest=json.dumps(rest, ensure_ascii=False)
            )
            asyncio.run(journal.save(key(number), f"r{number}", each))
        save(journal, key(9), kept(None, error="Invalid"))
        assert export(path, to) == 6
    lines = [json.loads(line) for line in to.read_text(encoding="utf-8").splitlines()]
    assert [line["value"] for line in lines] == [
        *({"a": 1}, {"a": 1}, "12", "\ud800", "9" * 5_000, None),
    ]
    assert [line["id"] for line in lines][:2] == ["r0", "r1"]
    assert lines[1]["raw"] == '```{"a": 1}```'
    assert "text" not in lines[1] and "plain" not in lines[2]
    assert lines[5]["error"] == {"kind": "Invalid", "message": "so"}
    assert lines[5]["status"] == "invalid"
    assert lines[0]["usage"]["input_tokens"] == 3
    assert datetime.fromisoformat(lines[0]["saved_at"]) <= datetime.now(UTC)


def test_export_to_where_it_cannot_be_written_is_told(path: Path):
    Journal(path).close()
    with pytest.raises(UsageError, match="is the journal itself"):
        export(path, path)
    with pytest.raises(UsageError, match="cannot be written"):
        export(path, path.parent / "none" / "x.jsonl")


# --- killed


def _save_until_killed(path: Path, first: int, told: int) -> None:
    async def work(journal: Journal, numbers: Iterator[int]) -> None:
        for number in numbers:
            await journal.save(key(number), str(number), kept("x" * 100))
            os.write(told, b"%d\n" % number)

    async def main(journal: Journal) -> None:
        numbers = iter(range(first, first + 10**6))
        await asyncio.gather(*(work(journal, numbers) for _ in range(16)))

    with Journal(path) as journal:
        asyncio.run(main(journal))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_what_was_reported_is_there_after_a_kill_at_any_moment(path: Path):
    chance = random.Random(9)
    reported: set[int] = set()
    for round_ in range(20):
        reads, writes = os.pipe()
        arguments = (path, round_ * 10**6, writes)
        child = multiprocessing.get_context("fork").Process(
            target=_save_until_killed, args=arguments
        )
        child.start()
        os.close(writes)
        with os.fdopen(reads, encoding="ascii") as told:
            lines = [told.readline()]  # it is under way
            killer = threading.Timer(chance.uniform(0, 0.05), child.kill)
            killer.start()
            lines += told.readlines()
        child.join(20)
        killer.join()
        assert child.exitcode == -signal.SIGKILL
        reported |= {int(line) for line in lines if line.endswith("\n")}
        with Journal(path) as journal:  # whose lock died with its process
            assert all(journal.find(key(number)) for number in reported)
    assert len(reported) > 1_000
    assert whole(path) >= len(reported)


# --- the cache


def test_a_cache_keeps_within_its_size_what_was_used_last(path: Path):
    with Cache(path, max_bytes=300_000) as cache:
        for number in range(500):
            save(cache, key(number), kept("x" * 2_000))
            assert cache.find(key(0)), number  # used all the time, so it stays
        there = [number for number in range(500) if cache.find(key(number))]
        assert 50 < len(there) < 150
        assert there[0] == 0
        assert there[1:] == list(range(500 - len(there) + 1, 500))
    assert path.stat().st_size < 400_000
    assert whole(path) == len(there)


def test_a_cache_smaller_than_an_answer_keeps_none(path: Path):
    with Cache(path, max_bytes=1) as cache:
        save(cache, key(1), kept("x" * 100_000))
        assert cache.find(key(1)) is None
    with pytest.raises(UsageError, match="max_bytes"):
        Cache(path, max_bytes=0)


def test_a_cache_is_shared_by_processes(path: Path):
    with Cache(path, max_bytes=10**6) as one, Cache(path, max_bytes=10**6) as other:
        save(one, key(1), kept("a"))
        assert other.find(key(1)) == kept("a")
        save(other, key(2), kept("b"))
        assert one.find(key(2)) == kept("b")


def test_a_cache_is_found_again(path: Path):
    with Cache(path, max_bytes=10**6) as cache:
        save(cache, key(1), kept("a"))
        time.sleep(0.01)
        assert cache.find(key(1))
    with Cache(path, max_bytes=10**6) as cache:
        assert cache.find(key(1)) == kept("a")
