"""Many rows at once: bounded workers, a result for every row, and none lost its position."""

from __future__ import annotations

import asyncio
import contextvars
import queue
import threading
import time
from collections.abc import (
    AsyncGenerator,
    Awaitable,
    Callable,
    Generator,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import aclosing, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Final, TypeAlias, TypeVar, cast

from typedllm._checks import check_kind
from typedllm.batch.results import Results
from typedllm.errors import UsageError
from typedllm.prompts.prompt import Prompt
from typedllm.records import Result

__all__ = ["Progress", "Row", "collect", "complete", "rows_of"]

T = TypeVar("T")

Progress: TypeAlias = bool | Callable[[int, int | None], None]
"""True draws a bar; a function is called after each row with how many are done, and of how many
(None where that is not known)."""

_END: Final = object()
_NONE: Final[Mapping[str, Any]] = {}


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One input of a batch.

    Attributes:
        position: its place among the inputs, from 0.
        prompt: what is asked.
        id: the caller's id, or the position as text.
        metadata: whatever the caller attached to it.
    """

    position: int
    prompt: object
    id: str
    metadata: Mapping[str, Any] = field(default_factory=dict[str, Any])


def rows_of(
    inputs: Iterable[object],
    *,
    ids: Iterable[str] | None = None,
    metadata: Iterable[Mapping[str, Any]] | None = None,
) -> Iterator[Row]:
    """Yield the rows of a batch, as lazily as the inputs are.

    Args:
        inputs: prompts.
        ids: as many ids; the positions when there are none.
        metadata: as many mappings, given back with the results.

    Raises:
        UsageError: at once when the inputs are a single text or conversation turn; while going
            through them when there are not as many ids or metadata.
    """
    given = cast(object, inputs)
    if isinstance(given, str | bytes | Mapping) or not isinstance(given, Iterable):
        kind = type(cast(object, given)).__name__
        raise UsageError(
            f"inputs: expected a list or another iterable of prompts, got one {kind}; "
            "write [prompt], or use call for a single one"
        )
    check_kind("ids", ids, Iterable)
    check_kind("metadata", metadata, Iterable)
    return _rows_of(inputs, ids, metadata)


def _rows_of(
    inputs: Iterable[object],
    ids: Iterable[str] | None,
    metadata: Iterable[Mapping[str, Any]] | None,
) -> Iterator[Row]:
    beside = {"ids": ids, "metadata": metadata}
    given = {name: iter(values) for name, values in beside.items() if values is not None}
    position = -1
    for position, prompt in enumerate(inputs):
        extra = {name: next(values, _END) for name, values in given.items()}
        for name, value in extra.items():
            if value is _END:
                raise UsageError(f"{name}: only {position} of them for more inputs than that")
        own = prompt.metadata if isinstance(prompt, Prompt) else _NONE
        attached = cast(Mapping[str, Any], extra.get("metadata", own))
        row_id = str(extra.get("ids", position))
        yield Row(position=position, prompt=prompt, id=row_id, metadata=attached)
    for name, values in given.items():
        if next(values, _END) is not _END:
            raise UsageError(f"{name}: more than {position + 1} of them for as many inputs")


async def collect(
    rows: Sequence[Row],
    work: Callable[[object], Awaitable[Result[T]]],
    *,
    width: int,
    progress: Progress = False,
    system: str | None = None,
) -> Results[T]:
    """Run all rows and return their results in the rows' order.

    Args:
        rows: the rows, whose positions are 0, 1, 2, ...
        work: makes the result of a prompt; a `UsageError` that it raises is its row's error.
        width: how many rows are in flight.
        progress: see `Progress`.
        system: the system text of the call, for the summary.
    """
    started = time.monotonic()
    results: list[Result[T] | None] = [None] * len(rows)
    async with aclosing(_completed(rows, work, width, progress)) as completed:
        async for row, result in completed:
            results[row.position] = result
    # Every position is filled: whatever kept a row from a result has been raised by now.
    wall_s = time.monotonic() - started
    return Results(cast(list[Result[T]], results), wall_s=wall_s, system=system)


async def complete(
    rows: Iterable[Row],
    work: Callable[[object], Awaitable[Result[T]]],
    *,
    width: int,
    progress: Progress = False,
) -> AsyncGenerator[Result[T], None]:
    """Yield the result of each row as soon as it is there.

    The arguments are those of `collect`. Rows that are no list are taken one at a time, no further
    ahead than `width` rows in flight and as many results not yet fetched, in a thread of their own.
    """
    async with aclosing(_completed(rows, work, width, progress)) as completed:
        async for _, result in completed:
            yield result


async def _completed(
    rows: Iterable[Row],
    work: Callable[[object], Awaitable[Result[T]]],
    width: int,
    progress: Progress,
) -> AsyncGenerator[tuple[Row, Result[T]], None]:
    total = len(rows) if isinstance(rows, Sequence) else None
    width = width if total is None else min(width, total)
    results: asyncio.Queue[tuple[Row, Result[T]] | None] = asyncio.Queue(maxsize=max(width, 1))
    source = _listed(rows) if isinstance(rows, Sequence) else _pulled(rows)
    turn = asyncio.Lock()

    async def worker() -> None:
        while True:
            async with turn:
                row = await anext(source, None)
            if row is None:
                return
            await results.put((row, await _result(row, work)))

    async def workers() -> None:
        # A source that fails ends itself; what is in flight is finished before its error is raised.
        outcomes = await asyncio.gather(*(worker() for _ in range(width)), return_exceptions=True)
        await results.put(None)
        for outcome in outcomes:
            if outcome is not None:
                raise outcome

    running = asyncio.create_task(workers())
    try:
        with _reporting(progress, total) as report:
            done = 0
            while (item := await results.get()) is not None:
                done += 1
                report(done, total)
                yield item
            await running
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await source.aclose()


async def _result(row: Row, work: Callable[[object], Awaitable[Result[T]]]) -> Result[T]:
    result: Result[T]
    try:
        result = await work(row.prompt)
    except UsageError as error:
        result = Result(error=error)
    return replace(result, id=row.id, metadata=row.metadata, prompt=row.prompt)


async def _listed(rows: Sequence[Row]) -> AsyncGenerator[Row, None]:
    for row in rows:
        yield row


async def _pulled(rows: Iterable[Row]) -> AsyncGenerator[Row, None]:
    # A generator may block, or call a model itself: it goes on in a thread of its own, not here.
    loop = asyncio.get_running_loop()
    wanted: queue.SimpleQueue[asyncio.Future[Row | None] | None] = queue.SimpleQueue()

    def pull() -> None:
        source = iter(rows)
        while (future := wanted.get()) is not None:
            try:
                outcome: Row | BaseException | None = next(source, None)
            except Exception as error:
                outcome = error
            loop.call_soon_threadsafe(_settle, future, outcome)

    threading.Thread(
        target=contextvars.copy_context().run, args=(pull,), name="typedllm-inputs", daemon=True
    ).start()
    try:
        while True:
            future: asyncio.Future[Row | None] = loop.create_future()
            wanted.put(future)
            row = await future
            if row is None:
                return
            yield row
    finally:
        wanted.put(None)


def _settle(future: asyncio.Future[Row | None], outcome: Row | BaseException | None) -> None:
    if future.cancelled():
        return
    if isinstance(outcome, BaseException):
        future.set_exception(outcome)
    else:
        future.set_result(outcome)


@contextmanager
def _reporting(
    progress: Progress, total: int | None
) -> Generator[Callable[[int, int | None], None], None, None]:
    if callable(progress):
        yield progress
    elif not progress:
        yield lambda done, total: None
    else:
        from rich.progress import BarColumn, MofNCompleteColumn, TimeRemainingColumn
        from rich.progress import Progress as Bar

        with Bar(BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()) as bar:
            task = bar.add_task("rows", total=total)
            yield lambda done, total: bar.update(task, completed=done)
