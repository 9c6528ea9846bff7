"""Requests collected into jobs, and jobs followed to their end, in one event loop."""

from __future__ import annotations

import asyncio
import secrets
import tempfile
import time
from collections.abc import Callable, Coroutine, Generator, Iterator
from contextlib import aclosing, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from hashlib import blake2b
from typing import Any, Final, TypeAlias, TypeVar

from typedllm._checks import check_number
from typedllm.engines.job_service import Ended, Job, JobLimits, JobService
from typedllm.engines.job_store import JobStore
from typedllm.errors import EngineError, TypedLLMError, UsageError
from typedllm.records import Failure, Reply

__all__ = ["Desk", "Pace"]

T = TypeVar("T")

_AROUND: Final = 160  # most bytes around a request's body, in the file of a job
_GROWTH: Final = 1.5
_SLOWEST: Final = 12
_BREATH: Final = 50  # answers, after which others have their turn


@dataclass(frozen=True, kw_only=True, slots=True)
class Pace:
    """When jobs are handed in, and how often they are asked about.

    Attributes:
        quiet_s: seconds without a further request after which a job is handed in.
        poll_s: seconds between the first two times that a job is asked about; half as many again
            each time after that, up to twelve times as many.
    """

    quiet_s: float = 2.0
    poll_s: float = 5.0

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            UsageError: naming the one that is out of its range.
        """
        check_number("quiet_s", self.quiet_s)
        check_number("poll_s", self.poll_s, above_least=True)

    def waits_s(self) -> Generator[float]:
        """Yield the seconds between one time and the next, without end."""
        wait_s = self.poll_s
        while True:
            yield wait_s
            wait_s = min(wait_s * _GROWTH, self.poll_s * _SLOWEST)


@dataclass(frozen=True, slots=True)
class _Given:
    """What a job has for a request: the JSON of an answer, or an error."""

    answer: Any


_Outcome: TypeAlias = _Given | Failure | None  # None: there is no such job, so it is asked anew


@dataclass(slots=True, eq=False)
class _Waiting:
    """Who waits for an answer, and where that will be."""

    digest: bytes
    outcome: asyncio.Future[_Outcome]
    key: str = ""  # of the job
    place: int = 0

    def tell(self, outcome: _Outcome) -> None:
        if not self.outcome.done():
            self.outcome.set_result(outcome)


@dataclass(slots=True, eq=False)
class _Batch:
    """Those who wait for the answers of one job, which may not have been handed in yet."""

    endpoint: str
    job: Job | None = None
    bodies: list[bytes] = field(default_factory=list[bytes])
    size: int = 0
    waiting: dict[int, _Waiting] = field(default_factory=dict[int, _Waiting])
    due: dict[int, _Waiting] = field(default_factory=dict[int, _Waiting])  # answers are being read
    touched: float = 0.0
    full: asyncio.Event = field(default_factory=asyncio.Event)

    def join(self, place: int, waiting: _Waiting) -> None:
        self.waiting[place] = waiting
        self.touched = time.monotonic()

    def has_room(self, size: int, limits: JobLimits) -> bool:
        return len(self.bodies) < limits.requests and self.size + size <= limits.size

    async def quiet(self, quiet_s: float) -> None:
        """Return when nobody has joined for some time, or nobody can join any more."""
        while (left_s := self.touched + quiet_s - time.monotonic()) > 0 and not self.full.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(self.full.wait(), left_s)

    def awaited(self) -> Iterator[_Waiting]:
        for each in (*self.waiting.values(), *self.due.values()):
            if not each.outcome.done():
                yield each


class Desk:
    """Takes requests, has them run as jobs, and gives out the answers."""

    def __init__(self, service: JobService, store: JobStore, pace: Pace) -> None:
        """Begin without a job.

        Args:
            service: runs the jobs.
            store: knows them.
            pace: of handing them in, and of asking about them.
        """
        self._service = service
        self._store = store
        self._pace = pace
        self._open: dict[str, _Batch] = {}  # by endpoint
        self._followed: dict[str, _Batch] = {}  # by the job's key
        self._tasks: set[asyncio.Task[None]] = set()

    async def ask(self, endpoint: str, body: bytes, read: Callable[[Any], Reply]) -> Reply | None:
        """Wait for the answer to a request; who gives up leaves it in its job, for a later one.

        Args:
            endpoint: of the provider's API.
            body: of the request, in JSON.
            read: reads the answer's JSON.

        Returns:
            The reply; None where the request turned out to be in no job, and is to be asked anew.

        Raises:
            TypedLLMError: when the request fits into no job, or the store fails.
        """
        waiting = self._joined(endpoint, body)
        del body  # else all are held for as long as the job runs
        try:
            outcome = await waiting.outcome
        except asyncio.CancelledError:
            self._give_back(waiting)
            raise
        if not isinstance(outcome, _Given):
            return outcome
        answer = outcome.answer
        reply = Failure(error=answer) if isinstance(answer, TypedLLMError) else read(answer)
        if isinstance(reply, Failure):
            self._store.drop(waiting.key, waiting.place)
        return reply

    async def close(self) -> None:
        """Stop following jobs, which run on at the provider."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _joined(self, endpoint: str, body: bytes) -> _Waiting:
        service = self._service
        place = f"{service.address} {endpoint} ".encode()
        digest = blake2b(place + body, digest_size=16).digest()
        waiting = _Waiting(digest, asyncio.get_running_loop().create_future())
        taken = self._store.take(digest)
        if taken is None:
            self._collect(endpoint, body, waiting)
            return waiting
        job, waiting.place = taken
        waiting.key = job.key
        batch = self._followed.get(job.key)
        if batch is None:
            batch = self._followed[job.key] = _Batch(endpoint, job)
            self._start(batch, self._follow)
        batch.join(waiting.place, waiting)
        return waiting

    def _collect(self, endpoint: str, body: bytes, waiting: _Waiting) -> None:
        limits, size = self._service.limits, len(body) + _AROUND
        if size > limits.size:
            raise UsageError(
                f"{self._service.name}: a request of {size:,} bytes is more than a job may have,"
                f" {limits.size:,}; shorten the prompt"
            )
        batch = self._open.get(endpoint)
        if batch is not None and not batch.has_room(size, limits):
            batch.full.set()
            batch = None
        if batch is None:
            batch = self._open[endpoint] = _Batch(endpoint)
            self._start(batch, self._run)
        batch.join(len(batch.bodies), waiting)
        batch.bodies.append(body)
        batch.size += size
        if len(batch.bodies) == limits.requests:
            batch.full.set()
            del self._open[endpoint]

    def _start(self, batch: _Batch, work: Callable[[_Batch], Coroutine[Any, Any, None]]) -> None:
        task = asyncio.get_running_loop().create_task(self._told(batch, work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _told(
        self, batch: _Batch, work: Callable[[_Batch], Coroutine[Any, Any, None]]
    ) -> None:
        """Do what there is to do for a job, and tell all who wait if that fails."""
        error: TypedLLMError = EngineError(f"the {self._service.name} engine was closed")
        try:
            await work(batch)
        except TypedLLMError as failed:
            error = failed
        except Exception as failed:  # no request is to wait for ever
            error = EngineError(f"the {self._service.name} engine failed: {failed!r}")
            error.__cause__ = failed
        finally:
            self._leave(batch)
            for waiting in batch.awaited():
                self._give_back(waiting)
                waiting.tell(Failure(error=error))

    def _leave(self, batch: _Batch) -> None:
        if self._open.get(batch.endpoint) is batch:
            del self._open[batch.endpoint]
        if batch.job is not None:
            self._followed.pop(batch.job.key, None)

    def _give_back(self, waiting: _Waiting) -> None:
        if waiting.key:
            with suppress(TypedLLMError):  # it then stays taken until the next start
                self._store.give_back(waiting.key, waiting.place)

    async def _run(self, batch: _Batch) -> None:
        await batch.quiet(self._pace.quiet_s)
        if self._open.get(batch.endpoint) is batch:
            del self._open[batch.endpoint]
        asked = [place for place, each in batch.waiting.items() if not each.outcome.done()]
        batch.waiting = dict(enumerate(batch.waiting[place] for place in asked))
        batch.bodies = [batch.bodies[place] for place in asked]
        if asked:
            batch.job = await self._handed_in(batch)
            await self._follow(batch)

    async def _handed_in(self, batch: _Batch) -> Job:
        key = f"{time.time_ns():016x}{secrets.token_hex(4)}"
        requests = len(batch.waiting)
        job = Job(key=key, endpoint=batch.endpoint, requests=requests, made=time.time())
        self._store.add(job, (waiting.digest for waiting in batch.waiting.values()))
        batch.job = job
        self._followed[key] = batch
        for place, waiting in batch.waiting.items():
            waiting.key, waiting.place = key, place
        try:
            id = await self._submitted(job, batch.bodies)
        except TypedLLMError as error:
            found = await self._service.find(job) if _may_have_arrived(error) else None
            if found is None:
                self._store.forget(key)
                raise
            id = found
        return self._named(job, id)

    def _named(self, job: Job, id: str) -> Job:
        with suppress(EngineError):  # the next start then looks for it
            self._store.name(job.key, id)
        return replace(job, id=id)

    async def _submitted(self, job: Job, bodies: list[bytes]) -> str:
        with tempfile.TemporaryFile() as file:
            try:
                await asyncio.to_thread(file.writelines, self._service.lines(job, bodies))
                file.seek(0)
                bodies.clear()  # which may be all the memory there is
            except OSError as error:
                raise EngineError(
                    f"{self._service.name}: a job cannot be written into"
                    f" {tempfile.gettempdir()}: {error}; make room there"
                ) from error
            return await self._service.submit(job, file)

    async def _follow(self, batch: _Batch) -> None:
        job = batch.job
        assert job is not None
        if job.id is None:
            id = await self._service.find(job)
            if id is None:
                self._store.forget(job.key)
                for waiting in batch.awaited():
                    waiting.tell(None)
                return
            job = batch.job = self._named(job, id)
        try:
            await self._finish(batch, job)
        except EngineError as error:
            if error.status != 404:
                raise
            self._store.forget(job.key)
            raise EngineError(
                f"{self._service.name} has no job {job.id} any more, or not its answers: {error}",
                retryable=True,
                status=404,
            ) from error

    async def _finish(self, batch: _Batch, job: Job) -> None:
        """Ask about a job until it has ended and nobody waits for its answers any more."""
        waits_s = self._pace.waits_s()
        while any(batch.awaited()):
            ended = await self._patiently(partial(self._service.ended, job))
            if ended is None:
                await asyncio.sleep(next(waits_s))
                continue
            await batch.quiet(self._pace.quiet_s)  # else each who joins has all answers read again
            batch.due, batch.waiting = batch.waiting, {}
            await self._patiently(partial(self._give_out, batch, job, ended))
            for waiting in batch.due.values():
                self._give(waiting, ended.rest)
            batch.due = {}
            self._store.save()

    async def _give_out(self, batch: _Batch, job: Job, ended: Ended) -> None:
        count = 0
        async with aclosing(ended.answers()) as answers:
            async for custom_id, answer in answers:
                place = job.place(custom_id)
                waiting = None if place is None else batch.due.pop(place, None)
                if waiting is not None:
                    self._give(waiting, answer)
                count += 1
                if count % _BREATH == 0:
                    await asyncio.sleep(0)

    def _give(self, waiting: _Waiting, answer: Any) -> None:
        if isinstance(answer, TypedLLMError):
            self._store.drop(waiting.key, waiting.place)
        waiting.tell(_Given(answer))

    async def _patiently(self, call: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Call until it does not fail in a way that may pass: a job takes hours in any case."""
        waits_s = self._pace.waits_s()
        while True:
            try:
                return await call()
            except EngineError as error:
                if not error.retryable:
                    raise
                wait_s = max(next(waits_s), error.retry_after_s or 0.0)
            await asyncio.sleep(wait_s)


def _may_have_arrived(error: TypedLLMError) -> bool:
    return isinstance(error, EngineError) and error.retryable and error.status != 429
