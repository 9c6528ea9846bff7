"""`typedllm batch`: each row of a file asked, and every answer kept, however the run ends."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from contextlib import closing
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from typedllm.cli.inputs import Row, Source, open_rows
from typedllm.cli.options import Limit, MaxTokens, Model, Out, Seed, System, Temperature
from typedllm.cli.ordered import in_order
from typedllm.cli.outcome import Outcome
from typedllm.cli.output_types import HELP, read_output_type
from typedllm.cli.outputs import check_out, open_whole, part_of
from typedllm.errors import UsageError

if TYPE_CHECKING:
    from typedllm.client.llm import LLM
    from typedllm.client.options import AnyType, BatchOptions
    from typedllm.prompts.templates import Template

__all__ = ["batch"]

_GIVEN: Final = ("instruction", "system_prompt", "examples", "history")  # to each template

Input = Annotated[
    Path,
    typer.Argument(metavar="INPUT", help="A file of rows: .csv, .jsonl, .ndjson or .parquet."),
]
Spec = Annotated[str, typer.Option("--type", help=HELP)]
Column = Annotated[
    str | None,
    typer.Option(help="The column that holds the text; may be left out where only one can."),
]
TemplateOf = Annotated[
    str | None,
    typer.Option(
        "--template", help="In place of --column: a template over the columns: name, path or text."
    ),
]
Id = Annotated[str | None, typer.Option("--id", help="The column that holds the id of each row.")]
Journal = Annotated[
    Path | None,
    typer.Option(help="Keep what comes of each row here; the same command then goes on with it."),
]
RetryFailed = Annotated[
    bool, typer.Option("--retry-failed", help="Ask all rows again that failed by the journal.")
]
AnyEngine = Annotated[
    bool, typer.Option("--any-engine", help="Take the journal's answers by other models too.")
]
MaxDollars = Annotated[
    float | None, typer.Option(help="Begin no further row once so many US dollars are spent.")
]
MaxTokensTotal = Annotated[
    int | None, typer.Option(help="Begin no further row once so many tokens are, in and out.")
]
MaxSeconds = Annotated[
    float | None, typer.Option(help="Begin no further row once so many seconds have passed.")
]
CacheFile = Annotated[
    Path | None, typer.Option("--cache", help="Keep answers here, for any later command.")
]
DryRun = Annotated[
    bool,
    typer.Option("--dry-run", help="Say how many rows, tokens and dollars it is; ask nothing."),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")]


def batch(
    path: Input,
    spec: Spec,
    column: Column = None,
    template: TemplateOf = None,
    id_column: Id = None,
    out: Out = None,
    model: Model = None,
    system: System = None,
    max_tokens: MaxTokens = None,
    temperature: Temperature = None,
    seed: Seed = None,
    limit: Limit = None,
    journal: Journal = None,
    retry_failed: RetryFailed = False,
    any_engine: AnyEngine = False,
    max_dollars: MaxDollars = None,
    max_tokens_total: MaxTokensTotal = None,
    max_seconds: MaxSeconds = None,
    cache: CacheFile = None,
    dry_run: DryRun = False,
    quiet: Quiet = False,
) -> None:
    """Ask about each row of a file, and write every row with its answer or its error, in order.

    With a journal it can be stopped at any moment, and the same command goes on. The exit status is
    0 when all rows are valid, 1 when some failed, 2 when the command is wrong, 130 after Ctrl-C.
    """
    if journal is None and (retry_failed or any_engine):
        raise UsageError("--retry-failed and --any-engine are about a journal: add --journal FILE")
    output_type = read_output_type(spec)
    words = _template(template, column)
    needed = None if words is None else [name for name in words.variables if name not in _GIVEN]
    source = open_rows(path, column=column, variables=needed, id_column=id_column)
    rows = islice(source.rows(), limit)
    if out is not None:
        check_out(None, out, source)
    from typedllm.attempts import Budget
    from typedllm.client.llm import LLM
    from typedllm.records import Sampling

    sampling = Sampling(max_tokens=max_tokens, temperature=temperature, seed=seed)
    budget = Budget(tokens=max_tokens_total, dollars=max_dollars, seconds=max_seconds)
    with LLM(model, system=system, sampling=sampling, cache=None if dry_run else cache) as llm:
        if dry_run:
            prompts = (row.prompt for row in rows)
            typer.echo(str(llm.estimate(prompts, output_type, template=words)))
            return
        options: BatchOptions = {"template": words, "budget": budget, "journal": journal}
        if journal is not None:
            options |= {"retry_failed": retry_failed, "any_engine": any_engine}
        # A bar would be drawn over a table that goes to the same terminal.
        shown = not quiet and (out is not None or not sys.stdout.isatty())
        total = sum(1 for _ in islice(source.rows(), limit)) if shown else None
        _run(llm, source, rows, output_type, out, total, options)


def _template(template: str | None, column: str | None) -> Template | None:
    if template is None:
        return None
    if column is not None:
        raise UsageError("--column and --template: give one of them; a template takes columns")
    from typedllm.prompts.templates import template as found

    return found(template)


def _run(
    llm: LLM,
    source: Source,
    rows: Iterable[Row],
    output_type: AnyType,
    out: Path | None,
    total: int | None,
    options: BatchOptions,
) -> None:
    from typedllm.batch.progress import reporting

    outcome = Outcome()
    try:
        with (
            reporting(total is not None, total) as report,
            closing(in_order(llm, rows, output_type, **options)) as answered,
        ):
            # What concerns all rows, such as a journal in use, is raised before a file is touched.
            first = list(islice(answered, 1))
            with open_whole(out, source, output_type) as writer:
                for row, result in chain(first, answered):
                    writer.write(row, result)
                    outcome.add(result)
                    report.add(result)
    except KeyboardInterrupt:
        typer.echo(_interrupted(outcome.written, out, options.get("journal")), err=True)
        raise typer.Exit(130) from None
    outcome.tell()


def _interrupted(written: int, out: Path | None, journal: Any) -> str:
    if journal is not None:
        return f"interrupted; what is finished is in {journal}: to go on, run the same again"
    there = f"; the rows so far are in {part_of(out)}" if out is not None and written else ""
    return f"interrupted{there}; with --journal FILE the same command would go on"
