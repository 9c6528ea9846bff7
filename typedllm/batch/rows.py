"""The rows of a batch, taken from its inputs as lazily as those are."""

from __future__ import annotations

import asyncio
import contextvars
import queue
import threading
from collections.abc import AsyncGenerator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, cast

from typedllm._checks import check_kind, check_text
from typedllm.errors import UsageError
from typedllm.prompts.prompt import Prompt

__all__ = ["Row", "rows_of", "taken"]

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
            through them when there are not as many ids or metadata, or one of them is none.
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
        attached, row_id = extra.get("metadata", own), str(extra.get("ids", position))
        check_text(f"ids[{position}]", row_id)
        if not isinstance(attached, Mapping):
            kind = type(attached).__name__
            raise UsageError(f"metadata[{position}]: expected a mapping, got one {kind}")
        attached = cast(Mapping[str, Any], attached)
        yield Row(position=position, prompt=prompt, id=row_id, metadata=attached)
    for name, values in given.items():
        if next(values, _END) is not _END:
            raise UsageError(f"{name}: more than {position + 1} of them for as many inputs")


def taken(rows: Iterable[Row]) -> AsyncGenerator[Row, None]:
    """Yield rows as they are wanted.

    Args:
        rows: those of a list are at hand; others may come of a generator that blocks, which goes on
            in a thread of its own.
    """
    return _listed(rows) if isinstance(rows, Sequence) else _pulled(rows)


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
            except BaseException as error:  # as of a caller that gives up: it has no other way out
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
