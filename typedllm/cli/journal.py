"""`typedllm journal`: what the journal of a batch holds, also while that runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["app"]

app = typer.Typer(help="See what the journal of a batch holds; the batch may be running.")

File = Annotated[Path, typer.Argument(metavar="FILE", help="The journal, such as run.db.")]


@app.command()
def status(path: File) -> None:
    """Count the rows that are finished, their errors, their tokens and what they cost."""
    from typedllm.batch.journal_report import status as found

    now = found(path)
    rows = now.valid + now.invalid + now.failed
    lines = {
        "rows": f"{rows:,}",
        "valid": f"{now.valid:,}",
        "invalid": f"{now.invalid:,} (--retry-failed asks them again)",
        "failed": f"{now.failed:,} (asked again by the next run)",
        "errors": ", ".join(f"{kind} {count:,}" for kind, count in now.errors.items()) or "none",
        "tokens": f"{now.usage.input_tokens:,} in, {now.usage.output_tokens:,} out",
        "cost": "not known" if now.usage.cost is None else f"{now.usage.cost:,.4g} dollars",
    }
    if now.first is not None and now.last is not None:
        lines["saved"] = f"{now.first:%Y-%m-%d %H:%M:%S} to {now.last:%Y-%m-%d %H:%M:%S} UTC"
    for name, words in lines.items():
        typer.echo(f"{name:8}{words}")


@app.command()
def export(
    path: File,
    out: Annotated[Path, typer.Option(help="The .jsonl file to write, a line for each row.")],
) -> None:
    """Write the finished rows as JSON Lines, with all that is known of each."""
    from typedllm.batch.journal_report import export as written

    count = written(path, out)
    typer.echo(f"{count:,} rows are in {out}", err=True)
