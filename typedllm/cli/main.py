"""The command line: `typedllm extract`, `batch`, `explain`, `render` and the rest.

What a command needs is imported inside it, so that `--help` and usage errors are quick.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from typedllm.cli import (
    batch,
    explain,
    extract,
    journal,
    render,
    schemas,
    start_server,
    templates,
)
from typedllm.errors import TypedLLMError, UsageError

__all__ = ["app"]


class _Group(TyperGroup):
    """Prints errors as one line each, and ends with the status that goes with them."""

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = False,
        windows_expand_args: bool = True,
        **extra: Any,
    ) -> Any:
        """Run the command line and end the process.

        The status is 0 when all went well, 1 when rows failed or the engine did, 2 for a mistake
        of the caller's, 130 after Ctrl-C.
        """
        name = prog_name or "typedllm"
        try:
            # Not standalone: errors come out of it, where Typer would draw them itself.
            status = super().main(args, name, complete_var, False, windows_expand_args, **extra)
        except typer.TyperException as error:
            status = _report(error.format_message(), error.exit_code)
        except TypedLLMError as error:
            status = _report(str(error), 2 if isinstance(error, UsageError) else 1)
        except OSError as error:
            status = _report(f"{error.filename or 'input or output'}: {error.strerror or error}", 2)
        sys.exit(status or 0)


def _report(message: str, status: int) -> int:
    sys.stderr.write(f"error: {' '.join(message.split())}\n")
    return status


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import PackageNotFoundError, version

        try:
            typer.echo(f"typedllm {version('typedllm')}")
        except PackageNotFoundError:
            typer.echo("typedllm, from a checkout that is not installed")
        raise typer.Exit


app = typer.Typer(
    cls=_Group,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback(invoke_without_command=True)
def _main(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_version, help="Say which version.")
    ] = False,
) -> None:
    """Make language models return typed values.

    Try: `typedllm extract "Ada is 36 years old." --spec '{"name": "str", "age": "int"}'`
    """
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


app.command()(extract.extract)
app.command()(batch.batch)
app.add_typer(journal.app, name="journal")
app.command()(explain.explain)
app.command()(render.render)
app.command()(start_server.start_server)
app.add_typer(schemas.app, name="schemas")
app.add_typer(templates.app, name="templates")
