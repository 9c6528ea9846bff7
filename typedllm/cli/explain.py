"""`typedllm explain`: what an engine enforces of an output type."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from typedllm.cli.output_types import HELP, read_output_type

if TYPE_CHECKING:
    from typedllm.constraints.plan import Plan

__all__ = ["explain"]

_STYLES = {
    "by construction": "green",
    "rewritten": "green",
    "checked after": "yellow",
    "refused": "red",
    "annotation": "dim",
}


def explain(
    spec: Annotated[str, typer.Argument(help=HELP)],
    engine: Annotated[str, typer.Option(help="The engine; its model is not loaded.")] = "embedded",
    max_tokens: Annotated[
        int | None, typer.Option(min=1, help="Say whether the shortest answer fits into so many.")
    ] = None,
) -> None:
    """Say what an engine enforces of an output type, and what is only checked. No model runs."""
    from typedllm.client.llm import explain as plan_of

    plan = plan_of(read_output_type(spec), engine)
    if sys.stdout.isatty():
        _draw(plan)
    else:
        typer.echo(str(plan))
    if max_tokens is not None and plan.least_bytes is not None:
        typer.echo(f"max_tokens: {_fit(plan.least_bytes, max_tokens)}")


def _fit(least_bytes: int, max_tokens: int) -> str:
    size = f"the shortest answer has {least_bytes} bytes"
    if least_bytes <= max_tokens:
        return f"{max_tokens} are enough with any tokenizer; {size}"
    return f"{max_tokens} may be too few, depending on the tokenizer; {size}"


def _draw(plan: Plan) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("where", "keyword", "how it holds", "why"):
        table.add_column(name, overflow="fold")
    for part in plan.told:
        how = Text(part.status, style=_STYLES[part.status])
        table.add_row(Text(part.pointer), Text(part.keyword), how, Text(part.reason))
    console = Console()
    if plan.told:
        console.print(table)
    lines = [f"engine: {plan.engine}", *(f"limit: {limit}" for limit in plan.limits)]
    lines.append("valid by construction" if plan.guaranteed else "validated after decoding")
    console.print(Text("\n".join([*lines, *plan.last_lines])))
