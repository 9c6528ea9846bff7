"""A batch of an LLM: its rows, its journal, and how they are run."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Coroutine, Generator, Iterable, Sequence
from contextlib import aclosing, contextmanager
from pathlib import Path
from typing import Any, cast

from typedllm._checks import check_kind
from typedllm.attempts import Budget
from typedllm.batch.journal import Journal
from typedllm.batch.keys import is_fixed
from typedllm.batch.memory import Recorded
from typedllm.batch.results import Results
from typedllm.batch.rows import Row, rows_of
from typedllm.batch.run import Running, collect, complete
from typedllm.client.asking import Asking
from typedllm.client.options import BatchOptions
from typedllm.errors import UsageError
from typedllm.records import Result

__all__ = ["collected", "iterated"]


def collected(
    asking: Asking, inputs: Iterable[object], options: BatchOptions
) -> Coroutine[Any, Any, Results[Any]]:
    """Run the rows of a batch, for their results in the order of the inputs.

    Args:
        asking: what the rows have in common.
        inputs: what is asked.
        options: the keywords of the call.

    Raises:
        UsageError: when the inputs are none, or not as many as ids or metadata.
    """
    _check(options)
    rows = rows_of(inputs, ids=options.get("ids"), metadata=options.get("metadata"))
    return _collected(asking, list(rows), options)


async def _collected(asking: Asking, rows: Sequence[Row], options: BatchOptions) -> Results[Any]:
    with _opened(asking, options) as (ready, running):
        results, wall_s = await collect(rows, ready.result, running)
    system, spec = asking.wording.system, asking.task.spec
    return Results(results, wall_s=wall_s, system=system, spec=spec)


def iterated(
    asking: Asking, inputs: Iterable[object], options: BatchOptions
) -> AsyncGenerator[Result[Any], None]:
    """Run the rows of a batch, for each result as soon as it is there; see `collected`."""
    _check(options)
    rows = rows_of(inputs, ids=options.get("ids"), metadata=options.get("metadata"))
    at_hand = list(rows) if isinstance(inputs, list | tuple) else rows
    return _iterated(asking, at_hand, options)


async def _iterated(
    asking: Asking, rows: Iterable[Row], options: BatchOptions
) -> AsyncGenerator[Result[Any], None]:
    with _opened(asking, options) as (ready, running):
        async with aclosing(complete(rows, ready.result, running)) as results:
            async for result in results:
                yield result


@contextmanager
def _opened(asking: Asking, options: BatchOptions) -> Generator[tuple[Asking, Running]]:
    """Open the journal, if there is to be one, until the rows are done."""
    running = Running(
        width=asking.width, progress=options.get("progress", False), budget=options.get("budget")
    )
    path = options.get("journal")
    if path is not None:
        with Journal(path) as journal:
            recorded = Recorded(
                journal=journal,
                retry_failed=bool(options.get("retry_failed")),
                any_engine=bool(options.get("any_engine")),
            )
            told = f"; what came of them is in {path}: to go on, run the same again"
            yield asking.remembering(recorded), running.resuming(told)
    elif asking.memory is None and is_fixed(asking.task.sampling):
        # Equal rows are asked once, while one is under way. Not on a local engine that is greedy by
        # itself: there it costs no money, and whoever measures it may send one text many times.
        yield asking.remembering(), running
    else:
        yield asking, running


def _check(options: BatchOptions) -> None:
    check_kind("budget", options.get("budget"), Budget)
    path = cast(object, options.get("journal"))
    if not isinstance(path, str | Path | None):
        raise UsageError(f"journal: expected the path of a file, got {path!r:.80}")
    if path is None:
        for name in ("retry_failed", "any_engine"):
            if options.get(name):
                raise UsageError(f"{name}: is about a journal; give journal= with it")
