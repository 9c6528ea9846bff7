"""`typedllm extract`: typed values from a text, or from each row of a file."""

from __future__ import annotations

import sys
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing, contextmanager
from itertools import count, islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from typedllm.cli.inputs import Row, Source, open_source
from typedllm.cli.output_types import HELP, field_names, read_output_type
from typedllm.cli.outputs import Format, open_writer
from typedllm.errors import UsageError

if TYPE_CHECKING:
    from typedllm.client.llm import LLM
    from typedllm.client.options import AnyType
    from typedllm.records import Result

__all__ = ["extract", "in_order"]

_AHEAD: Final = 1024  # rows read and not yet written, which bounds what waits for a slow one

Input = Annotated[
    str,
    typer.Argument(
        metavar="INPUT",
        help="A text; - for standard input; a .txt or .md file; or a .csv or .jsonl file of rows.",
    ),
]
Spec = Annotated[str, typer.Option("--spec", help=HELP)]
Column = Annotated[
    str | None, typer.Option(help="The column that holds the text, of a CSV or JSONL file.")
]
Model = Annotated[
    str | None,
    typer.Option(help="engine:model; else the one in TYPEDLLM_MODEL, else the embedded one."),
]
System = Annotated[str | None, typer.Option(help="A text that tells the model what it does.")]
MaxTokens = Annotated[int | None, typer.Option(min=1, help="The most tokens of an answer.")]
Temperature = Annotated[float | None, typer.Option(min=0, help="0 takes the likeliest tokens.")]
Seed = Annotated[int | None, typer.Option(help="Makes sampling repeatable.")]
Limit = Annotated[int | None, typer.Option(min=1, help="Read only so many rows.")]
Out = Annotated[Path | None, typer.Option(help="Write to this .jsonl or .csv file.")]
Form = Annotated[
    Format | None,
    typer.Option("--format", help="How to write; else a table on a terminal, JSONL in a pipe."),
]


def extract(
    source: Input,
    spec: Spec,
    column: Column = None,
    model: Model = None,
    system: System = None,
    max_tokens: MaxTokens = None,
    temperature: Temperature = None,
    seed: Seed = None,
    limit: Limit = None,
    out: Out = None,
    form: Form = None,
) -> None:
    """Read typed values out of a text, or out of each row of a file.

    Every row is written in its place, with an error where it failed. The exit status is 0 when all
    rows are valid, 1 when some failed, 2 when the command is wrong.
    """
    output_type = read_output_type(spec)
    opened = open_source(source, column)
    from typedllm.client.llm import LLM
    from typedllm.records import Sampling

    sampling = Sampling(max_tokens=max_tokens, temperature=temperature, seed=seed)
    written = failed = cut = 0
    with LLM(model, system=system, sampling=sampling) as llm:
        llm.explain(output_type)  # raises what concerns all rows, before a file is written
        try:
            with (
                open_writer(form, out, opened, field_names(output_type)) as writer,
                _progress(opened, limit, shown=out is not None or not sys.stdout.isatty()) as step,
                closing(in_order(llm, islice(opened.rows(), limit), output_type)) as answered,
            ):
                for row, result in answered:
                    writer.write(row, result)
                    written += 1
                    failed += not result.ok
                    cut += bool(result.clipped)
                    step()
        except KeyboardInterrupt:
            typer.echo("interrupted; the rows written so far are whole", err=True)
            raise typer.Exit(130) from None
    if cut:
        typer.echo(f"{cut} of {written} answers were cut short to fit max_tokens", err=True)
    if failed:
        typer.echo(f"{failed} of {written} rows failed; their error says why", err=True)
        raise typer.Exit(1)


def in_order(
    llm: LLM, rows: Iterable[Row], output_type: AnyType
) -> Generator[tuple[Row, Result[Any]]]:
    """Ask about rows, many at a time, and yield each with its result, in their order.

    Args:
        llm: whom to ask.
        rows: the rows; read no further ahead than a bounded number.
        output_type: what to answer about each.
    """
    from typedllm.records import Result

    waiting: deque[tuple[Row, str | None]] = deque()  # with the id of its result
    results: dict[str | None, Result[Any]] = {}
    room = threading.Semaphore(_AHEAD)

    def texts() -> Iterator[str]:
        ids = map(str, count())
        for row in rows:
            if row.problem is not None:
                waiting.append((row, None))
                continue
            room.acquire()
            waiting.append((row, next(ids)))
            yield row.text

    def ready() -> Iterator[tuple[Row, Result[Any]]]:
        while waiting:
            row, number = waiting[0]
            if row.problem is not None:
                result: Result[Any] = Result(error=UsageError(row.problem))
            elif number in results:
                result = results.pop(number)
                room.release()
            else:
                return
            waiting.popleft()
            yield row, result

    for result in llm.iter_batch(texts(), output_type):
        results[result.id] = result
        yield from ready()
    yield from ready()


@contextmanager
def _progress(source: Source, limit: int | None, *, shown: bool) -> Generator[Callable[[], None]]:
    """Draw a bar on standard error when it is a terminal; what is yielded counts a row."""
    if source.path is None or not shown or not sys.stderr.isatty():
        yield lambda: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    total = sum(1 for _ in islice(source.rows(), limit))  # a pass costs little beside a model
    bar = Progress(
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        redirect_stdout=False,
    )
    with bar:
        task = bar.add_task("rows", total=total)
        yield lambda: bar.advance(task)
