"""A local engine's worker: one thread that computes, fed from any thread and event loop.

Whatever waits, from calls, batches and repair turns alike, joins the running batch at its next
step. The thread lives only while there is work, so an engine that is dropped is freed.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Protocol

from typedllm.errors import EngineError
from typedllm.records import Failure, Reply, Request

__all__ = ["Job", "Runner", "Worker"]

_LINGER_S = 2.0  # the thread ends after so long without work
_EXIT_S = 1.0  # the program's exit waits so long for threads that are at work
_exiting = threading.Event()


class Job:
    """A request and the place where its reply is awaited."""

    def __init__(self, request: Request, future: asyncio.Future[Reply]) -> None:
        """Tie a request to its future.

        Args:
            request: what to run.
            future: of the event loop that awaits the reply.
        """
        self.request = request
        self._future = future
        self._replied = False

    @property
    def ended(self) -> bool:
        """Whether nobody waits any more: it has its reply, or was cancelled."""
        return self._replied or self._future.done()

    def reply(self, reply: Reply) -> None:
        """Hand over the reply, from any thread; the first one counts.

        Args:
            reply: for the one who waits.
        """
        self._replied = True
        with suppress(RuntimeError):  # of a closed event loop: nobody waits
            self._future.get_loop().call_soon_threadsafe(self._resolve, reply)

    def _resolve(self, reply: Reply) -> None:
        if not self._future.done():
            self._future.set_result(reply)


class Runner(Protocol):
    """What an engine computes with; only the worker's thread calls it."""

    def room(self) -> int:
        """How many more jobs it can take now."""
        ...

    def step(self, new: Sequence[Job]) -> bool:
        """Do one step with all jobs it holds, and reply to those that are done.

        Args:
            new: jobs that join with this step.

        Returns:
            Whether it still holds jobs.
        """
        ...


class Worker:
    """Runs jobs on a thread of its own, by a runner that is called on no other."""

    def __init__(self, make_runner: Callable[[], Runner], name: str) -> None:
        """Make a worker; its thread starts with the first job.

        Args:
            make_runner: makes an empty runner, on the thread; called again after a crash, which
                leaves a runner in no known state, and after a fork.
            name: of the engine, for messages.
        """
        self._make_runner = make_runner
        self._name = name
        self._closed = False
        self._start_anew()
        _workers.add(self)

    async def submit(self, request: Request) -> Reply:
        """Run a request; cancelling drops its job, also when it is running.

        Args:
            request: what to run.

        Returns:
            The runner's reply, or a `Failure` when it crashed or the worker is closed.
        """
        future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        with self._changed:
            if self._closed:
                return self._closed_failure()
            self._waiting.append(Job(request, future))
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
                self._thread.start()
            self._changed.notify()
        return await future

    def close(self) -> None:
        """End the thread after its current step; whatever is not done by then fails."""
        with self._changed:
            self._closed = True
            thread = self._thread
            self._changed.notify()
        if thread is not None:
            thread.join()

    def _leave(self, until: float) -> None:
        """Have the thread not linger, and wait for its end, until a time of `time.monotonic`."""
        with self._changed:
            thread = self._thread
            self._changed.notify()
        if thread is not None:
            thread.join(max(until - time.monotonic(), 0.0))

    def _start_anew(self) -> None:
        self._changed = threading.Condition()
        self._waiting: deque[Job] = deque()
        self._thread: threading.Thread | None = None
        self._runner: Runner | None = None

    def _run(self) -> None:
        running: list[Job] = []
        while self._has_work(busy=bool(running)):
            try:
                if self._runner is None:
                    self._runner = self._make_runner()
                new = self._take(self._runner.room())
                running += new
                busy = self._runner.step(new)
                running = [job for job in running if busy and not job.ended]
            except BaseException as error:  # a panic in a Rust library is no Exception
                self._runner = None
                failure = Failure(error=_crash(self._name, error))
                # without any job running it was the runner that could not be made
                for job in running or self._take(len(self._waiting)):
                    job.reply(failure)
                running = []
        if self._closed:
            self._runner = None
            for job in [*running, *self._take(len(self._waiting))]:
                job.reply(self._closed_failure())

    def _has_work(self, *, busy: bool) -> bool:
        """Wait for work; without any for a while, or when closed, the thread is to end."""
        with self._changed:
            if not busy:
                self._changed.wait_for(
                    lambda: self._waiting or self._closed or _exiting.is_set(), _LINGER_S
                )
            if not self._closed and (busy or self._waiting):
                return True
            self._thread = None
            return False

    def _take(self, room: int) -> list[Job]:
        """Take up to `room` of the jobs that wait, without those that were cancelled."""
        taken: list[Job] = []
        with self._changed:
            while self._waiting and len(taken) < room:
                job = self._waiting.popleft()
                if not job.ended:
                    taken.append(job)
        return taken

    def _closed_failure(self) -> Failure:
        return Failure(error=EngineError(f"the {self._name} engine is closed; make a new one"))


def _crash(name: str, cause: BaseException) -> EngineError:
    error = EngineError(f"the {name} engine crashed: {type(cause).__name__}: {cause}")
    error.__cause__ = cause
    return error


_workers: weakref.WeakSet[Worker] = weakref.WeakSet()


def _at_exit() -> None:
    """End idle threads: one that woke while the interpreter ends would abort it inside torch."""
    _exiting.set()
    until = time.monotonic() + _EXIT_S
    for worker in list(_workers):
        worker._leave(until)  # pyright: ignore[reportPrivateUsage]


atexit.register(_at_exit)


def _after_fork() -> None:
    """Forget thread and jobs: a child process has no threads, and nobody in it awaits the jobs."""
    for worker in _workers:
        worker._start_anew()  # pyright: ignore[reportPrivateUsage]


if hasattr(os, "register_at_fork"):  # there is no fork on Windows
    os.register_at_fork(after_in_child=_after_fork)
