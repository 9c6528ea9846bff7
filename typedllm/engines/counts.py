"""The tokens that a service counts, which nobody but the service can check."""

from __future__ import annotations

from typing import Any, Final, cast

from typedllm.records import Usage

__all__ = ["usage_counted"]

_MOST: Final = 2**40  # tokens of one answer; sums over millions of rows still fit into 64 bits


def usage_counted(*, prompt: Any, answer: Any, cached: Any = None, cost: Any = None) -> Usage:
    """Make the usage of what a service says of an answer; what cannot be is as if it said nothing.

    Args:
        prompt: tokens of the prompt, cached ones included; several numbers are added up.
        answer: tokens of the answer, likewise.
        cached: tokens of the prompt that came from the service's cache, no more than all.
        cost: US dollars.
    """
    input_tokens = _tokens(prompt)
    return Usage(
        input_tokens=input_tokens,
        output_tokens=_tokens(answer),
        cached_tokens=min(_tokens(cached), input_tokens),
        cost=float(cost) if _is_amount(cost) else None,
    )


def _tokens(told: Any) -> int:
    if isinstance(told, tuple):
        return sum(map(_tokens, cast("tuple[Any, ...]", told)))
    return int(told) if _is_amount(told) else 0


def _is_amount(told: Any) -> bool:
    # not NaN, which is below and above nothing
    return isinstance(told, int | float) and 0 <= told <= _MOST
