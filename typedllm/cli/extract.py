"""`typedllm extract`: typed values from a text, or from each row of a file."""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator
from contextlib import closing, contextmanager
from itertools import islice
from typing import Annotated

import typer

from typedllm.cli.inputs import Source, open_source
from typedllm.cli.options import Limit, MaxTokens, Model, Out, Seed, System, Temperature
from typedllm.cli.ordered import in_order
from typedllm.cli.outcome import Outcome
from typedllm.cli.output_types import HELP, read_output_type
from typedllm.cli.outputs import Format, open_writer

__all__ = ["extract"]

Input = Annotated[
    str,
    typer.Argument(
        metavar="INPUT",
        help="A text; - for standard input; a .txt or .md file; or a file of rows: .csv, .jsonl or"
        " .parquet.",
    ),
]
Spec = Annotated[str, typer.Option("--spec", help=HELP)]
Column = Annotated[
    str | None, typer.Option(help="The column that holds the text, of a file of rows.")
]
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
    outcome = Outcome()
    with LLM(model, system=system, sampling=sampling) as llm:
        llm.explain(output_type)  # raises what concerns all rows, before a file is written
        try:
            with (
                open_writer(form, out, opened, output_type) as writer,
                _progress(opened, limit, shown=out is not None or not sys.stdout.isatty()) as step,
                closing(in_order(llm, islice(opened.rows(), limit), output_type)) as answered,
            ):
                for row, result in answered:
                    writer.write(row, result)
                    outcome.add(result)
                    step()
        except KeyboardInterrupt:
            typer.echo("interrupted; the rows written so far are whole", err=True)
            raise typer.Exit(130) from None
    outcome.tell()


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
