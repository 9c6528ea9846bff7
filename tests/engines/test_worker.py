"""The worker: any thread and event loop in, one thread that computes."""

from __future__ import annotations

import asyncio
import gc
import os
import subprocess
import sys
import textwrap
import threading
import time
import weakref
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from typedllm.engines import worker as worker_module
from typedllm.engines.worker import Job, Worker
from typedllm.errors import EngineError
from typedllm.records import Completion, Failure, Reply, Request, Segment, Usage


def request(text: str) -> Request:
    return Request(prompt=(Segment(text=text),))


def text_of(reply: Reply) -> str:
    assert isinstance(reply, Completion)
    return reply.text


class Counting:
    """Answers "word 3" after three steps with "word"; takes at most four jobs."""

    def __init__(self) -> None:
        self.left: dict[Job, int] = {}
        self.most = 0
        self.steps = 0
        self.threads: set[int] = set()

    def room(self) -> int:
        return 4 - len(self.left)

    def step(self, new: Sequence[Job]) -> bool:
        self.steps += 1
        self.threads.add(threading.get_ident())
        for job in new:
            word, steps = self._prompt(job)
            if word == "crash":
                raise RuntimeError("out of order")
            self.left[job] = int(steps)
        self.most = max(self.most, len(self.left))
        for job in list(self.left):
            self.left[job] -= 1
            if self.left[job] <= 0 and not job.ended:
                word, _ = self._prompt(job)
                job.reply(Completion(text=word, finish_reason="stop", usage=Usage()))
            if job.ended:
                del self.left[job]
        time.sleep(0.001)
        return bool(self.left)

    def _prompt(self, job: Job) -> list[str]:
        (segment,) = job.request.prompt
        assert isinstance(segment, Segment)
        return segment.text.split()


class Made:
    """A worker and the runners it has made."""

    def __init__(self) -> None:
        self.runners: list[Counting] = []
        self.worker = Worker(self._make, "counting")

    def _make(self) -> Counting:
        self.runners.append(Counting())
        return self.runners[-1]


async def test_jobs_run_together_within_the_room_and_on_one_thread() -> None:
    made = Made()
    requests = [request(f"w{number} {number % 5}") for number in range(40)]
    replies = await asyncio.gather(*map(made.worker.submit, requests))
    assert [text_of(reply) for reply in replies] == [f"w{number}" for number in range(40)]
    (runner,) = made.runners
    assert runner.most == 4
    assert len(runner.threads) == 1 and threading.get_ident() not in runner.threads


def test_many_threads_each_with_its_own_event_loop() -> None:
    made = Made()

    def call(number: int) -> str:
        async def both() -> list[Reply]:
            texts = [f"{number}a 3", f"{number}b 1"]
            return await asyncio.gather(*(made.worker.submit(request(text)) for text in texts))

        return "".join(map(text_of, asyncio.run(both())))

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(call, range(24)))
    assert found == [f"{number}a{number}b" for number in range(24)]
    assert len(made.runners) == 1


async def test_cancelling_drops_a_job_that_waits_and_one_that_runs() -> None:
    made = Made()
    running = [asyncio.create_task(made.worker.submit(request(f"r{n} 1000000"))) for n in range(4)]
    waiting = asyncio.create_task(made.worker.submit(request("w 1000000")))
    while not (made.runners and made.runners[0].most == 4):
        await asyncio.sleep(0.001)
    for task in [*running, waiting]:
        task.cancel()
    done = await asyncio.gather(*running, waiting, return_exceptions=True)
    assert all(isinstance(result, asyncio.CancelledError) for result in done)
    assert text_of(await made.worker.submit(request("after 1"))) == "after"
    made.worker.close()  # the step that replied has ended then
    assert len(made.runners[0].left) == 0


async def test_a_crash_fails_what_runs_and_the_worker_goes_on() -> None:
    made = Made()
    jobs = [request(f"w{number} 50") for number in range(3)] + [request("crash 1")]
    replies = await asyncio.gather(*map(made.worker.submit, jobs))
    for reply in replies:
        assert isinstance(reply, Failure) and isinstance(reply.error, EngineError)
        assert str(reply.error) == "the counting engine crashed: RuntimeError: out of order"
        assert isinstance(reply.error.__cause__, RuntimeError)
    assert text_of(await made.worker.submit(request("after 2"))) == "after"
    assert len(made.runners) == 2


async def test_a_runner_that_cannot_be_made_fails_the_jobs() -> None:
    def make() -> Counting:
        raise MemoryError("no memory")

    replies = await asyncio.gather(*(Worker(make, "big").submit(request("w 1")) for _ in range(3)))
    for reply in replies:
        assert isinstance(reply, Failure) and "MemoryError: no memory" in str(reply.error)


async def test_closing_fails_what_is_not_done() -> None:
    made = Made()
    tasks = [asyncio.create_task(made.worker.submit(request("w 1000000"))) for _ in range(6)]
    await asyncio.sleep(0.02)
    made.worker.close()
    made.worker.close()
    for reply in [*await asyncio.gather(*tasks), await made.worker.submit(request("w 1"))]:
        assert isinstance(reply, Failure)
        assert "the counting engine is closed" in str(reply.error)


async def test_an_event_loop_that_ended_harms_nobody() -> None:
    made = Made()

    async def give_up() -> None:
        task = asyncio.ensure_future(made.worker.submit(request("lost 5")))
        await asyncio.sleep(0)
        # a loop that is stopped rather than run to its end leaves the future pending
        asyncio.get_running_loop().stop()
        await task

    def abandon() -> None:
        loop = asyncio.new_event_loop()
        task = loop.create_task(give_up())
        loop.run_forever()
        assert not task.done()
        loop.close()

    await asyncio.to_thread(abandon)
    assert text_of(await made.worker.submit(request("kept 9"))) == "kept"


async def test_an_idle_worker_is_freed_and_keeps_its_runner_till_then(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(worker_module, "_LINGER_S", 0.02)
    made = Made()
    await made.worker.submit(request("w 1"))
    await asyncio.sleep(0.1)
    await made.worker.submit(request("w 1"))
    (runner,) = made.runners
    assert len(runner.threads) >= 1
    freed = weakref.ref(made.worker)
    del made
    while freed() is not None:
        await asyncio.sleep(0.01)
        gc.collect()


SCRIPT = """
import asyncio, atexit, os, sys, threading, time
atexit.register(lambda: last())  # behind all other hooks
last = list
from typedllm.engines.worker import Worker
from typedllm.records import Completion, Request, Segment, Usage

class Runner:
    def room(self): return 8
    def step(self, new):
        for job in new:
            if job.request.prompt[0].text == "end":
                job.reply(Completion(text=str(os.getpid()), finish_reason="stop", usage=Usage()))
        time.sleep(0.01)
        return True

worker = Worker(Runner, "script")

def run(text):
    return asyncio.run(worker.submit(Request(prompt=(Segment(text=text),)))).text

"""


def script(body: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT + textwrap.dedent(body)],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    return done.stdout


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_has_a_worker_of_its_own() -> None:
    out = script(
        """
        assert run("end") == str(os.getpid())
        child = os.fork()
        assert run("end") == str(os.getpid())
        if child:
            assert os.waitpid(child, 0)[1] == 0
            print("both")
        """
    )
    assert out == "both\n"


def test_a_busy_worker_does_not_keep_the_interpreter_alive() -> None:
    out = script(
        """
        async def give_up():
            try:
                await asyncio.wait_for(worker.submit(Request(prompt=(Segment(text="on"),))), 0.1)
            except TimeoutError:
                print("given up")

        asyncio.run(give_up())
        """
    )
    assert out == "given up\n"


def test_an_idle_worker_has_no_thread_any_more_when_the_interpreter_ends() -> None:
    out = script(
        """
        class Idle(Runner):
            def step(self, new):
                super().step(new)
                return False

        worker = Worker(Idle, "idle")
        run("end")
        last = lambda: print(*(thread.name for thread in threading.enumerate()))
        last()
        """
    )
    assert out == "MainThread idle\nMainThread\n"
