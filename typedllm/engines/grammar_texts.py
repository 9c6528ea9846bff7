"""Constraints as texts for programs that mask tokens themselves."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import lru_cache
from typing import Final

from typedllm.constraints.ebnf import print_ebnf
from typedllm.constraints.lark import print_lark
from typedllm.errors import UnsupportedConstraint
from typedllm.grammar.complexity import TooComplex
from typedllm.records import Constraint, Grammar, Lark

__all__ = ["FirstUse", "printed"]

_KEPT: Final = 128  # constraints


def printed(constraint: Constraint, whose: str, *, lark: bool = False) -> str:
    """Print a constraint; the last ones are kept, and so is what cannot be printed.

    Args:
        constraint: a `Grammar`; or a `Lark`, where that is taken.
        whose: who gets it, such as `a vLLM server at its defaults`.
        lark: whether it is known to take Lark; else it gets EBNF, which more of them take.

    Raises:
        UnsupportedConstraint: when it cannot be said so.
    """
    text, problem = _printed(constraint, lark)
    if problem:
        raise UnsupportedConstraint(f"{whose} cannot take the output type: {problem}")
    return text


@lru_cache(maxsize=_KEPT)
def _printed(constraint: Constraint, lark: bool) -> tuple[str, str]:
    """The text, or what is wrong."""
    if isinstance(constraint, Lark) and lark:
        return constraint.text, ""
    if not isinstance(constraint, Grammar):
        return "", f"it wants a grammar of typedllm's own, not a {type(constraint).__name__}"
    if lark:
        return print_lark(constraint.root), ""
    try:
        return print_ebnf(constraint.root), ""
    except TooComplex as error:
        return "", (
            f"{error}; bound its strings and lists, or take a server of `typedllm start-server`,"
            " which gets another form"
        )


class FirstUse:
    """Has what takes long for a new constraint made in a thread, so that it holds nobody up."""

    def __init__(self) -> None:
        self._known: set[Constraint] = set()

    async def of(self, constraint: Constraint | None, make: Callable[[], object]) -> None:
        """Make it, if this is the first use; it is `make` that keeps what it makes.

        Args:
            constraint: what it is made for, if there is one.
            make: called in a thread.
        """
        if constraint is None or constraint in self._known:
            return
        await asyncio.to_thread(make)
        if len(self._known) >= _KEPT:
            self._known.clear()
        self._known.add(constraint)
