"""`typedllm start-server`: a model server that runs until Ctrl-C, and leaves nothing behind."""

from __future__ import annotations

import shlex
import signal
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, NoReturn

import typer

from typedllm.engines.server_commands import ServerType

if TYPE_CHECKING:
    from typedllm.engines.server_commands import ServerCommand

__all__ = ["start_server"]

_ENDING: Final = ("SIGINT", "SIGTERM", "SIGHUP")  # by name, as Windows has no SIGHUP

Extra = Annotated[
    list[str] | None,
    typer.Argument(metavar="[-- ARGUMENTS]", help="What goes to the server as it is, after --."),
]
Model = Annotated[str, typer.Option(help="A folder, or an id of the Hugging Face hub.")]
Kind = Annotated[ServerType, typer.Option("--server-type", help="Which server.")]
Gpus = Annotated[int, typer.Option(min=1, help="GPUs in each node; 1 without a GPU, too.")]
Nodes = Annotated[int, typer.Option(min=1, help="Machines that share the model.")]
Host = Annotated[str, typer.Option(help="The address to listen on.")]
Port = Annotated[int, typer.Option(min=0, max=65535, help="The port; 0 takes a free one.")]
Guided = Annotated[
    bool, typer.Option(help="Set what makes guided answers compact and sure to end.")
]
TimeoutS = Annotated[float, typer.Option(min=1, help="Seconds to wait for it to be ready.")]
Log = Annotated[
    Path | None, typer.Option(help="The file for its log; else one in a temporary folder.")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Print the command line and end.")]


def start_server(
    model: Model,
    server_type: Kind = "vllm",
    gpus: Gpus = 1,
    nodes: Nodes = 1,
    host: Host = "127.0.0.1",
    port: Port = 8000,
    guided: Guided = True,
    timeout_s: TimeoutS = 600,
    log: Log = None,
    dry_run: DryRun = False,
    extra: Extra = None,
) -> None:
    """Start a model server, print its URL when it is ready, and end it on Ctrl-C.

    For example: `typedllm start-server --model Qwen/Qwen3-8B -- --max-model-len 4096`
    """
    if extra and not extra[0].startswith("-"):
        raise typer.BadParameter(
            f"what is {extra[0]!r}? The model is --model, and arguments of the server's own "
            "go after --"
        )
    from typedllm.engines.server_commands import server_command

    command = server_command(
        model,
        server_type,
        gpus=gpus,
        nodes=nodes,
        host=host,
        port=port,
        guided=guided,
        extra=extra or (),
    )
    if dry_run:
        variables = [f"{name}={value}" for name, value in command.environment.items()]
        typer.echo(shlex.join([*(["env", *variables] if variables else []), *command.arguments]))
        return
    _run(command, timeout_s, log)


def _run(command: ServerCommand, timeout_s: float, log: Path | None) -> None:
    from typedllm.engines.servers import Server
    from typedllm.errors import EngineError

    started = time.monotonic()
    try:
        with _ending_signals(), Server(command, log=log) as server:
            typer.echo(f"waiting for {command.name} to load {command.model}", err=True)
            typer.echo(f"its log: {server.log}", err=True)
            server.wait_until_ready(timeout_s)
            seconds = time.monotonic() - started
            typer.echo(f"ready after {seconds:.0f} s; Ctrl-C ends it", err=True)
            hint = f'LLM("{command.engine}:{server.model}", base_url="{server.url}")'
            typer.echo(hint, err=True)
            typer.echo(server.url)
            server.wait()
    except SystemExit:
        typer.echo("the server has ended", err=True)
        raise
    except EngineError as error:
        said, _, tail = str(error).partition("\n")
        typer.echo(tail, err=True)
        raise EngineError(said) from error  # which is the last line of what is printed


@contextmanager
def _ending_signals() -> Generator[None]:
    """Let signals leave the block as an exit of status 128 + signal, so that it is left in order.

    One that the caller ignores, as `nohup` does SIGHUP, stays ignored.
    """

    def leave(number: int, _: object) -> NoReturn:
        raise SystemExit(128 + number)

    numbers = [getattr(signal, name) for name in _ENDING if hasattr(signal, name)]
    before = {number: signal.getsignal(number) for number in numbers}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, leave)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
