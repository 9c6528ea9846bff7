"""What every way to vLLM has in common: versions, grammars, and the options of our processor."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

from typedllm.constraints.ebnf import print_ebnf
from typedllm.constraints.lark import print_lark
from typedllm.errors import UnsupportedConstraint, UsageError
from typedllm.grammar.closing import reserve
from typedllm.grammar.complexity import TooComplex
from typedllm.grammar.regular import Expr
from typedllm.grammar.wire import dumps
from typedllm.records import Constraint, Grammar, Lark

__all__ = [
    "EXPRESSION",
    "PROBE",
    "PROBED",
    "PROCESSOR",
    "RESERVE",
    "check_version",
    "landing_options",
    "printed",
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


@lru_cache(maxsize=128)
def printed(constraint: Constraint, guidance: bool) -> str:
    """A constraint as vLLM takes it.

    Args:
        constraint: a `Grammar` or a `Lark`.
        guidance: whether vLLM is known to be on its guidance backend, which takes Lark; else it
            gets what each of its backends takes.

    Raises:
        UnsupportedConstraint: when it cannot be said so.
    """
    if isinstance(constraint, Grammar):
        if guidance:
            return print_lark(constraint.root)
        try:
            return print_ebnf(constraint.root)
        except TooComplex as error:
            raise UnsupportedConstraint(
                f"the output type is too large for a vLLM server at its defaults: {error}; start"
                " the server by `typedllm start-server`, or bound the type's strings and lists"
            ) from error
    if isinstance(constraint, Lark) and guidance:
        return constraint.text
    kind = type(constraint).__name__
    raise UnsupportedConstraint(f"this vLLM takes a grammar of typedllm's own, not a {kind}")


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
