"""`typedllm schemas`: the ready-made output types."""

from __future__ import annotations

import json
from typing import Annotated

import typer

__all__ = ["app"]

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
