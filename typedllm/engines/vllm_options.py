"""What every way to vLLM has in common: versions, and the options of our processor."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

from typedllm.errors import UsageError
from typedllm.grammar.closing import reserve
from typedllm.grammar.regular import Expr
from typedllm.grammar.wire import dumps

__all__ = [
    "EXPRESSION",
    "PROBE",
    "PROBED",
    "PROCESSOR",
    "RESERVE",
    "check_version",
    "landing_options",
]

_OLDEST: Final = (0, 12)
PROCESSOR: Final = "typedllm.engines.vllm_landing:LandingProcessor"
EXPRESSION: Final = "typedllm_expression"
RESERVE: Final = "typedllm_reserve"
PROBE: Final = "typedllm_probe"
PROBED: Final = "typedllm's landing processor is here"


@lru_cache(maxsize=128)
def landing_options(expr: Expr) -> Mapping[str, Any]:
    """What the processor must know of a row's grammar.

    Args:
        expr: what the whole answer matches.

    Returns:
        Options for `extra_args`, or `vllm_xargs` over HTTP.
    """
    return {EXPRESSION: dumps(expr), RESERVE: reserve(expr)}


def check_version(version: str) -> None:
    """Refuse a vLLM that ignores constraints as they are sent today.

    Args:
        version: such as `0.32.0`.

    Raises:
        UsageError: when it is too old.
    """
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
    if numbers < _OLDEST:
        raise UsageError(
            f"vLLM {version} ignores constraints as they are sent today; install 0.12 or newer"
        )
