"""`typedllm schemas`: the ready-made output types, and a check of one's own."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

if TYPE_CHECKING:
    from typedllm.constraints.plan import Plan

__all__ = ["app"]

_NOT_AS_WRITTEN: Final = ("rewritten", "checked after", "refused")

app = typer.Typer(invoke_without_command=True)


@app.callback()
def listing(context: typer.Context) -> None:
    """List the ready-made output types; each name can be given to --spec."""
    if context.invoked_subcommand is not None:
        return
    from typedllm.spec.schemas import schema, schema_names

    names = schema_names()
    width = max(map(len, names))
    for name in names:
        typer.echo(f"{name:{width}}  {schema(name).schema.get('description', '')}")


@app.command()
def show(
    name: Annotated[str, typer.Argument(help="The name of a ready-made output type.")],
) -> None:
    """Print the JSON Schema of one of them."""
    from typedllm.spec.schemas import schema

    typer.echo(json.dumps(schema(name).schema, indent=2, ensure_ascii=False))


@app.command()
def check(
    file: Annotated[Path, typer.Argument(help="A .json or .yaml file: a JSON Schema or OpenAPI.")],
    folder: Annotated[
        Path | None, typer.Option(help="Where references may lead; the file's folder by default.")
    ] = None,
    engine: Annotated[str, typer.Option(help="The engine; its model is not loaded.")] = "embedded",
) -> None:
    """Say of every schema in a file what an engine enforces of it; status 1 if one is refused."""
    from typedllm.client.llm import explain
    from typedllm.engines.table import traits_of
    from typedllm.errors import UsageError
    from typedllm.spec.schemas import schemas_in

    traits_of(engine)  # an unknown one concerns all schemas
    refused = False
    for pointer, found in schemas_in(file, folder=folder):
        try:
            if isinstance(found, UsageError):
                raise found
            plan = explain(found, engine)
        except UsageError as error:
            refused = True
            typer.echo(f"{pointer}: refused: {' '.join(str(error).split())}")
            continue
        for line in _lines(pointer, plan):
            typer.echo(line)
        refused = refused or any(part.status == "refused" for part in plan.parts)
    if refused:
        raise typer.Exit(1)


def _lines(pointer: str, plan: Plan) -> Iterator[str]:
    others = [
        part for part in plan.told if part.status in _NOT_AS_WRITTEN or part.status == "annotation"
    ]
    counts = Counter(part.status for part in others)
    said = [f"{counts[status]} {status}" for status in _NOT_AS_WRITTEN if counts[status]]
    yield f"{pointer}: {', '.join(said) or 'by construction'}"
    for part in others:
        yield f"    {part.status}: {part.pointer} {part.keyword}: {part.reason}"
