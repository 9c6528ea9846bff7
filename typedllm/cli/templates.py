"""`typedllm templates`: the prompt templates and chat formats that can be named."""

from __future__ import annotations

from typing import Annotated

import typer

__all__ = ["app"]

app = typer.Typer(invoke_without_command=True)


@app.callback()
def listing(context: typer.Context) -> None:
    """List the templates of prompts, with the values that each needs, and the chat formats."""
    if context.invoked_subcommand is not None:
        return
    from typedllm.prompts.templates import template
    from typedllm.templating.finding import find, header_of, template_names

    prompts = {name: template(name) for name in template_names("prompts")}
    formats = {name: header_of(find(name, "models")) for name in template_names("models")}
    width = max(map(len, [*prompts, *formats]))
    typer.echo("Prompts, for --template and template=:")
    for name, found in prompts.items():
        optional = "".join(f", [{each}]" for each in found.optional)
        typer.echo(f"  {name:{width}}  {', '.join(found.variables)}{optional}")
        typer.echo(f"  {'':{width}}  {found.description}")
    typer.echo("\nChat formats, for --chat-template and chat_template=:")
    for name, header in formats.items():
        typer.echo(f"  {name:{width}}  {header.get('description', '')}")


@app.command()
def show(
    name: Annotated[str, typer.Argument(help="The name of a template or chat format.")],
) -> None:
    """Print the text of one of them."""
    from typedllm.errors import TemplateError
    from typedllm.templating.finding import find, template_names

    kind = "models" if name in template_names("models") else "prompts"
    try:
        typer.echo(find(name, kind).text, nl=False)
    except TemplateError as error:
        raise TemplateError(f"{error}; `typedllm templates` lists them") from error
