"""Jobs whoever runs them: the store, the files of vLLM's batch runner, and who asks from where."""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import threading
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.engines.contract import ask, error_of
from typedllm import LLM, EngineError, Sampling, UnsupportedConstraint, UsageError
from typedllm.attempts import Policy
from typedllm.engines.job_desk import Pace
from typedllm.engines.job_service import Job, lines_of
from typedllm.engines.job_store import JobStore
from typedllm.engines.table import open_engine
from typedllm.records import Completion, Message, Request, Segment

QUICK: dict[str, Any] = {"quiet_s": 0.05, "poll_s": 0.01}


def job(key: str = "a", count: int = 3, made: float | None = None) -> Job:
    made = time.time() if made is None else made
    return Job(key=key, endpoint="/v1/x", requests=count, made=made)


def taken(store: JobStore, digest: bytes) -> tuple[str, int] | None:
    found = store.take(digest)
    return None if found is None else (found[0].key, found[1])


class TestStore:
    def test_equal_requests_are_taken_in_their_order(self, tmp_path: Path):
        store = JobStore(tmp_path / "jobs.db", "s")
        store.add(job("b"), [b"x", b"y", b"x"])
        store.add(job("c"), [b"x"])
        assert store.take(b"x") is None  # who asked waits for them
        store.give_back("b", 2)
        assert taken(store, b"x") == ("b", 2)
        store.close()
        store = JobStore(tmp_path / "jobs.db", "s")
        assert [taken(store, b"x") for _ in range(4)] == [("b", 0), ("b", 2), ("c", 0), None]
        assert store.take(b"z") is None
        store.close()

    def test_jobs_are_kept(self, tmp_path: Path):
        store = JobStore(tmp_path / "jobs.db", "s")
        first = job("b")
        store.add(first, [b"x", b"y", b"z"])
        store.give_back("b", 0)
        assert store.take(b"x") == (first, 0)
        store.name("b", "batch_1")
        store.add(job("c", 1), [b"w"])
        store.forget("c")
        store.drop("b", 1)
        store.close()
        store = JobStore(tmp_path / "jobs.db", "s")
        assert store.take(b"x") == (replace(first, id="batch_1"), 0)
        assert [store.take(each) for each in (b"y", b"w")] == [None, None]
        store.close()

    def test_old_ones_are_forgotten(self, tmp_path: Path):
        store = JobStore(tmp_path / "jobs.db", "s")
        for key, days in (("old", 31), ("new", 29)):
            store.add(job(key, 1, time.time() - days * 24 * 3600), [key.encode()])
        store.close()
        store = JobStore(tmp_path / "jobs.db", "s")
        assert [taken(store, each) for each in (b"old", b"new")] == [None, ("new", 0)]
        store.close()

    def test_a_file_that_is_in_use_or_another_is_told(self, tmp_path: Path):
        path = tmp_path / "jobs.db"
        store = JobStore(path, "s")
        with pytest.raises(UsageError, match=r"jobs=.*another engine has it open"):
            JobStore(path, "s")
        store.close()
        JobStore(path, "s").close()
        with sqlite3.connect(path) as newer:
            newer.execute("PRAGMA user_version = 2")
        newer.close()
        with pytest.raises(UsageError, match="one of a newer typedllm"):
            JobStore(path, "s")
        (tmp_path / "text").write_text("no database at all, but a text of some length" * 30)
        with pytest.raises(UsageError, match="file is not a database; give another one"):
            JobStore(tmp_path / "text", "s")
        with sqlite3.connect(tmp_path / "other") as other:
            other.execute("CREATE TABLE mine (x)")
        other.close()
        with pytest.raises(UsageError, match="no file of jobs"):
            JobStore(tmp_path / "other", "s")

    def test_without_a_path_there_is_no_file(self, tmp_path: Path, monkeypatch: Any):
        monkeypatch.chdir(tmp_path)
        stores = [JobStore(None, "s") for _ in range(2)]
        for store in stores:
            store.add(job(), [b"x", b"y", b"z"])
            store.close()
        assert list(tmp_path.iterdir()) == []

    def test_a_full_disk_is_told(self, tmp_path: Path):
        store = JobStore(tmp_path / "jobs.db", "s")
        store._database.execute("PRAGMA max_page_count = 20")
        with pytest.raises(EngineError, match=r"jobs\.db' cannot be written: database or disk is"):
            store.add(job(count=9999), (os.urandom(16) for _ in range(9999)))
        store.close()

    @pytest.mark.filterwarnings("ignore:.*fork")
    def test_it_is_not_used_after_a_fork(self, tmp_path: Path):
        store = JobStore(tmp_path / "jobs.db", "s")
        child = os.fork()
        if child == 0:
            try:
                store.take(b"x")
            except UsageError:
                os._exit(7)
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
        store.close()


@given(st.lists(st.binary(max_size=6)), st.integers(1, 9))
def test_lines_are_those_of_the_file_however_it_comes(lines: list[bytes], size: int):
    text = b"".join(line.replace(b"\n", b"\r") + b"\n" for line in lines)
    chunks = [text[start : start + size] for start in range(0, len(text), size)]

    async def coming() -> AsyncIterator[bytes]:
        for chunk in chunks:
            yield chunk

    async def collected() -> list[bytes]:
        return [line async for line in lines_of(coming())]

    assert asyncio.run(collected()) == text.split(b"\n")[:-1]


@given(st.text("0123456789abcdef", min_size=1), st.integers(0, 10**6))
def test_custom_ids_are_read_back(key: str, place: int):
    mine = job(key)
    assert mine.place(mine.custom_id(place)) == place
    assert job(f"{key}0").place(mine.custom_id(place)) is None
    assert mine.place(None) is None
    assert mine.place(f"{key}-x") is None


def test_waits_grow_up_to_twelvefold():
    waits_s = Pace(poll_s=2.0).waits_s()
    found = [next(waits_s) for _ in range(12)]
    assert found[:3] == [2.0, 3.0, 4.5]
    assert found[-1] == 24.0


class Runner:
    """What vLLM's batch runner does with the files of a folder, but for the model."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.sent: list[list[dict[str, Any]]] = []
        self.leaves_out = -1
        self.slow_s = 0.0
        self.stopped = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)

    def run(self) -> None:
        while not self.stopped.wait(0.01):
            for path in sorted(self.folder.glob("*.in.jsonl")):
                out = path.with_name(path.name.replace(".in.", ".out."))
                if not out.exists():
                    self.work(path, out)

    def work(self, path: Path, out: Path) -> None:
        requests = [json.loads(line) for line in path.read_text().splitlines()]
        self.sent.append(requests)
        with out.open("w") as file:
            for place, request in enumerate(requests):
                if place == self.leaves_out:
                    continue
                file.write(json.dumps(self.answered(request)) + "\n")
                file.flush()
                time.sleep(self.slow_s)

    def answered(self, request: dict[str, Any]) -> dict[str, Any]:
        assert request["url"] == "/v1/chat/completions"
        said = request["body"]["messages"][-1]["content"]
        response: dict[str, Any] = {"status_code": 200, "request_id": "1"}
        line = {"id": "1", "custom_id": request["custom_id"], "response": response, "error": None}
        if "too long" in said:
            told = {"message": "maximum context length is 9", "type": "BadRequestError"}
            response |= {"status_code": 400, "body": None}
            line["error"] = {"error": {**told, "param": None, "code": 400}}
            return line
        choice = {"index": 0, "message": {"content": said.split()[1]}, "finish_reason": "stop"}
        usage = {"prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 9}
        response["body"] = {"choices": [choice], "usage": usage}
        return line


@pytest.fixture
def runner(tmp_path: Path) -> Iterator[Runner]:
    runner = Runner(tmp_path / "jobs")
    runner.thread.start()
    yield runner
    runner.stopped.set()
    runner.thread.join()


def opened(runner: Runner, **options: Any) -> LLM:
    policy = Policy(attempts=2, min_wait_s=0.0, max_wait_s=0.0)
    given = {"folder": runner.folder, **QUICK, **options}
    return LLM("vllm-batch:m", policy=policy, engine_args=given)


class TestFilesOfVllm:
    def test_rows_form_jobs_and_keep_their_places(self, runner: Runner):
        runner.slow_s = 0.005  # a file is not read before it is whole
        with opened(runner, job_requests=20) as llm:
            results = llm.batch([f"Row {number}" for number in range(50)], int)
        assert [result.unwrap() for result in results] == list(range(50))
        body = runner.sent[0][0]["body"]
        assert body["model"] == "m"
        assert "root ::= " in body["structured_outputs"]["grammar"]
        with opened(runner) as llm:  # whose jobs are known in the folder
            again = llm.batch([f"Row {number}" for number in range(50)], int)
        assert again.values() == results.values()
        assert sum(map(len, runner.sent)) == 50
        assert not list(runner.folder.glob("*.part"))

    def test_errors_are_those_of_their_rows(self, runner: Runner):
        with opened(runner) as llm:
            results = llm.batch(["Row 1", "Row too long", "Row 3"], int)
        assert [result.ok for result in results] == [True, False, True]
        assert "maximum context length is 9" in str(results[1].error)

    def test_what_the_runner_leaves_out_is_asked_again(
        self, runner: Runner, monkeypatch: pytest.MonkeyPatch
    ):
        monkeypatch.setattr("typedllm.engines.vllm_batches._STILL_S", 0.2)
        runner.leaves_out = 2
        with opened(runner) as llm:
            results = llm.batch([f"Row {number}" for number in range(5)], int)
        assert [result.unwrap() for result in results] == list(range(5))
        assert [result.attempts for result in results] == [1, 1, 2, 1, 1]

    async def test_what_it_does_not_take_is_told(self, tmp_path: Path):
        engine = open_engine("vllm-batch:m", {"folder": tmp_path / "a" / "b"})
        assert "takes no raw text" in str(await error_of(engine, ask("Well")))
        words = (Message(role="user", content=(Segment(text="x"),)),)
        labels = Request(prompt=words, labels=("a", "b"))
        assert isinstance(await error_of(engine, labels), UnsupportedConstraint)
        await engine.close()
        for options, told in (
            ({}, "no folder"),
            ({"folder": tmp_path, "backend": "xgrammar"}, "only 'guidance'"),
            ({"folder": __file__}, "cannot be made"),
        ):
            with pytest.raises(UsageError, match=told):
                open_engine("vllm-batch:m", options)


async def test_each_event_loop_has_jobs_of_its_own(runner: Runner):
    engine = open_engine("vllm-batch:m", {"folder": runner.folder, **QUICK})
    llm = LLM(engine, sampling=Sampling(max_tokens=9))
    here = asyncio.ensure_future(llm.abatch(["Row 1", "Row 2"], int))
    there = await asyncio.to_thread(llm.batch, ["Row 3", "Row 4"], int)
    assert (await here).values() == [1, 2]
    assert there.values() == [3, 4]
    anew = await asyncio.to_thread(lambda: asyncio.run(llm.abatch(["Row 5"], int)))
    assert anew.values() == [5]
    await engine.close()


async def test_nobody_hears_an_answer_in_pieces(runner: Runner):
    engine = open_engine("vllm-batch:m", {"folder": runner.folder, **QUICK})
    words = (Message(role="user", content=(Segment(text="Row 7"),)),)
    found = await engine.send(Request(prompt=words, tell=pytest.fail))
    assert isinstance(found, Completion)
    assert found.text == "7"
    assert "stream" not in runner.sent[0][0]["body"]
    await engine.close()
