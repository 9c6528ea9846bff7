"""Rows asked many at a time, and their results in the order of the rows."""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterable, Iterator
from itertools import tee
from typing import TYPE_CHECKING, Any, Final

from typedllm.cli.tables import Row
from typedllm.errors import UsageError

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from typedllm.client.llm import LLM
    from typedllm.client.options import AnyType, BatchOptions
    from typedllm.records import Result

__all__ = ["in_order"]

_AHEAD: Final = 1_024  # rows read and not yet written, which bounds what waits for a slow one


def in_order(
    llm: LLM, rows: Iterable[Row], output_type: AnyType, **options: Unpack[BatchOptions]
) -> Generator[tuple[Row, Result[Any]]]:
    """Ask about rows, many at a time, and yield each with its result, in their order.

    Args:
        llm: whom to ask.
        rows: the rows; read no further ahead than a bounded number.
        output_type: what to answer about each.
        options: further keywords of `LLM.iter_batch`; when its budget is spent, each of the rows
            that are left has an error that says so.
    """
    from typedllm.batch.run import not_asked
    from typedllm.records import Result

    ahead = max(_AHEAD, 2 * llm.asking(output_type, options).width)
    room = threading.Semaphore(ahead)
    source = enumerate(rows)

    def taken() -> Iterator[tuple[int, Row]]:
        for numbered in source:
            room.acquire()
            yield numbered

    first, second, third = tee(taken(), 3)  # which are gone through side by side
    results: dict[int, Result[Any]] = {}
    position = 0
    beside: BatchOptions = {
        **options,
        "ids": (str(at) if row.id is None else row.id for at, row in second),
        "metadata": ({"at": at, "row": row} for at, row in third),
    }
    for result in llm.iter_batch((row.prompt for _, row in first), output_type, **beside):
        results[result.metadata["at"]] = result
        while (ready := results.pop(position, None)) is not None:
            room.release()
            position += 1
            yield ready.metadata["row"], ready
    for _, row in source:
        left = not_asked(f"{options.get('budget')} is spent")
        yield row, Result(error=left if row.problem is None else UsageError(row.problem))
