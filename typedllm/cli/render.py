"""`typedllm render`: exactly what a model would be given, before any call is made."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from typedllm.cli.output_types import HELP, read_output_type

if TYPE_CHECKING:
    from typedllm.engines.encode import PromptEncoder

__all__ = ["render"]


def render(
    text: Annotated[str, typer.Argument(help="The user's text; the value `user_prompt`.")] = "",
    template: Annotated[
        str | None, typer.Option(help="A prompt template: a name, a path, or its text.")
    ] = None,
    value: Annotated[
        list[str] | None, typer.Option("--set", help="A value for the template, as NAME=TEXT.")
    ] = None,
    context: Annotated[
        Path | None, typer.Option(help="A JSON file with values for the template.")
    ] = None,
    system: Annotated[str | None, typer.Option(help="A system text.")] = None,
    spec: Annotated[str | None, typer.Option(help=HELP)] = None,
    model: Annotated[
        str | None, typer.Option(help="Whose format and tokenizer; no weights are loaded.")
    ] = None,
    chat_template: Annotated[
        str | None, typer.Option(help="A raw format, such as llama3-instruct, for the messages.")
    ] = None,
) -> None:
    """Print what would be sent, special tokens included; the count of tokens goes to stderr."""
    from typedllm.client.rendering import rendered_prompt
    from typedllm.prompts.prompt import Prompt, Wording, conversation
    from typedllm.settings import default_model
    from typedllm.spec.spec import spec_of
    from typedllm.templating.chat_format import chat_format

    values = {**_from_file(context), **dict(_pair(each) for each in value or ())}
    prompt = Prompt(user_prompt=text, context=values)
    known = spec_of(None) if spec is None else spec_of(read_output_type(spec))
    encoder = _encoder(model or default_model())
    rendered = rendered_prompt(
        conversation(prompt, known, Wording(system=system, template=template)),
        encoder=encoder,
        chat_format=None if chat_template is None else chat_format(chat_template),
    )
    typer.echo(rendered.text, nl=sys.stdout.isatty())  # a file gets the text and nothing else
    if rendered.tokens is None:
        typer.echo("tokens: unknown; name the folder of the model, as engine:folder", err=True)
    else:
        typer.echo(f"tokens: {rendered.tokens:,}", err=True)


def _pair(text: str) -> tuple[str, str]:
    name, sign, value = text.partition("=")
    if not sign or not name.isidentifier():
        raise typer.BadParameter(f"--set {text!r}: write NAME=TEXT")
    return name, value


def _from_file(path: Path | None) -> dict[str, Any]:
    if path is None:
        return {}
    try:
        found: Any = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise typer.BadParameter(f"{path} is not JSON: {error}") from error
    if not isinstance(found, dict):
        raise typer.BadParameter(f"{path}: expected an object of values by name")
    return cast(dict[str, Any], found)


def _encoder(model: str) -> PromptEncoder | None:
    """The tokenizer and chat template in the folder of a model, or of the packaged one."""
    from typedllm.engines.encode import PromptEncoder
    from typedllm.engines.table import TINY, engine_row

    name, _, rest = model.partition(":")
    engine_row(name)  # an unknown engine is an error
    folder = TINY if name == "embedded" and not rest else Path(rest)
    return PromptEncoder.load(folder) if (folder / "tokenizer.json").is_file() else None
