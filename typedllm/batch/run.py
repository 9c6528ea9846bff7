"""Many rows at once: bounded workers, a result for every row, and none lost its position."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, replace
from typing import Final, TypeAlias, TypeVar, cast

from typedllm.attempts import Budget, Spending, pausing
from typedllm.batch.progress import Progress, reporting
from typedllm.batch.rows import Row, taken
from typedllm.errors import NotAsked, UsageError
from typedllm.records import Result

__all__ = ["Running", "Work", "collect", "complete", "not_asked"]

T = TypeVar("T")

_PAUSED: Final = 256  # rows that may wait for another attempt while others are under way
Work: TypeAlias = Callable[[Row], Awaitable[Result[T]]]
"""Makes the result of a row; a `UsageError` that it raises is its row's error."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Running:
    """How the rows of a batch are run.

    Attributes:
        width: how many rows are under way.
        progress: see `Progress`.
        budget: what all of them may use; when it is spent, no further row is begun.
        resumes: how the batch is gone on with when it is stopped, in words.
    """

    width: int
    progress: Progress = False
    budget: Budget | None = None
    resumes: str = ""

    def resuming(self, resumes: str) -> Running:
        """The same with how the batch is gone on with.

        Args:
            resumes: in words.
        """
        return replace(self, resumes=resumes)


async def collect(
    rows: Sequence[Row], work: Work[T], running: Running
) -> tuple[list[Result[T]], float]:
    """Run all rows, and return their results in the rows' order, with the seconds it took.

    Args:
        rows: the rows, whose positions are 0, 1, 2, ...
        work: makes the result of a row.
        running: how they are run.
    """
    started = time.monotonic()
    results: list[Result[T] | None] = [None] * len(rows)
    async with aclosing(_completed(rows, work, running)) as completed:
        async for row, result in completed:
            results[row.position] = result
    return cast(list[Result[T]], results), time.monotonic() - started


async def complete(
    rows: Iterable[Row], work: Work[T], running: Running
) -> AsyncGenerator[Result[T], None]:
    """Yield the result of each row as soon as it is there.

    The arguments are those of `collect`. Rows that are no list are taken one at a time, no further
    ahead than are under way and as many results not yet fetched; none is taken any more when the
    budget is spent, since they may be endless, while those of a list are `NotAsked`.
    """
    async with aclosing(_completed(rows, work, running)) as completed:
        async for _, result in completed:
            yield result


async def _completed(
    rows: Iterable[Row], work: Work[T], running: Running
) -> AsyncGenerator[tuple[Row, Result[T]], None]:
    total = len(rows) if isinstance(rows, Sequence) else None
    width = running.width if total is None else min(running.width, total)
    results: asyncio.Queue[tuple[Row, Result[T]] | None] = asyncio.Queue(maxsize=max(width, 1))
    source = taken(rows)
    turn = asyncio.Lock()
    spending, stops = Spending(running.budget), asyncio.Event()

    async def begun() -> Row | None:
        async with turn:
            return None if stops.is_set() or spending.spent() else await anext(source, None)

    async def worked() -> None:
        while not crew.is_wanted() and (row := await begun()) is not None:
            try:
                result = await _result(row, work)
            except BaseException:  # such as of a full disk under the journal: no further row
                stops.set()
                raise
            if result.origin == "asked":
                spending.add(result.usage)
            await results.put((row, result))

    crew = _Crew(width, worked)

    async def workers() -> None:
        # A source that fails ends itself; what is in flight is finished before its error is raised.
        errors = await crew.run()
        if total is not None and not stops.is_set():  # what is left when the budget is spent
            async for row in source:
                error = not_asked(spending.spent(), running.resumes)
                await results.put((row, _of(row, Result(error=error))))
        await results.put(None)
        for error in errors:
            raise error

    under_way = asyncio.create_task(workers())
    done = 0
    try:
        with reporting(running.progress, total) as report:
            while (item := await results.get()) is not None:
                done += 1
                report.add(item[1])
                yield item
            await under_way
    except asyncio.CancelledError as stopped:
        stopped.add_note(_came(done, total) + running.resumes)
        raise
    finally:
        under_way.cancel()
        await asyncio.gather(under_way, return_exceptions=True)
        await source.aclose()


def _came(done: int, total: int | None) -> str:
    return f"stopped after {done:,}{'' if total is None else f' of {total:,}'} rows"


class _Crew:
    """Workers, each of which has a row under way; where one waits, another begins in its place."""

    def __init__(self, width: int, work: Callable[[], Awaitable[None]]) -> None:
        self._width = width
        self._work = work
        self._slots = asyncio.Semaphore(width)
        self._returning = 0  # rows that have waited, and want a slot again
        self._tasks: set[asyncio.Task[None]] = set()

    def is_wanted(self) -> bool:
        """Whether a worker should end before its next row, for one that has waited."""
        return self._returning > 0

    async def run(self) -> list[BaseException]:
        """Have all of them work until they end; what they raised."""
        errors: list[BaseException] = []
        for _ in range(self._width):
            self._begin()
        try:
            while self._tasks:
                done, _ = await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
                self._tasks -= done
                errors += [error for task in done if (error := _error_of(task))]
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
        return errors

    def _begin(self) -> None:
        self._tasks.add(asyncio.create_task(self._worker()))

    async def _worker(self) -> None:
        held = True
        await self._slots.acquire()

        @asynccontextmanager
        async def left() -> AsyncGenerator[None]:
            nonlocal held
            held = False
            self._slots.release()
            if len(self._tasks) < self._width + min(self._width, _PAUSED):
                self._begin()
            yield  # what is raised here gives the wait up, and takes no slot again
            self._returning += 1
            try:
                await self._slots.acquire()
            finally:
                self._returning -= 1
            held = True

        pausing.set(left)
        try:
            await self._work()
        finally:
            if held:
                self._slots.release()


def _error_of(task: asyncio.Task[None]) -> BaseException | None:
    return asyncio.CancelledError() if task.cancelled() else task.exception()


def not_asked(why: str, resumes: str = "") -> NotAsked:
    """The error of a row that was not begun.

    Args:
        why: in words, such as what is spent.
        resumes: how the batch is gone on with, in words.
    """
    return NotAsked(f"not asked, since {why}{resumes}")


async def _result(row: Row, work: Work[T]) -> Result[T]:
    result: Result[T]
    try:
        if isinstance(row.prompt, UsageError):  # an input that could not be read, as of a file
            raise row.prompt
        result = await work(row)
    except UsageError as error:
        result = Result(error=error)
    return _of(row, result)


def _of(row: Row, result: Result[T]) -> Result[T]:
    return replace(result, id=row.id, metadata=row.metadata, prompt=row.prompt)
