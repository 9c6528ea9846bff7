"""Counts what a rendering does, and gives it up when that is too much."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

from jinja2.exceptions import SecurityError

__all__ = ["bounded", "spend", "steps_for"]

_MOST: Final = 1_000_000  # of one rendering
_CHARS: Final = 20  # that are made, or looked at, in a step

_left: ContextVar[list[int]] = ContextVar("typedllm_template_steps")


@contextmanager
def bounded() -> Generator[None]:
    """Count the steps of a rendering; after a million of them it is given up."""
    token = _left.set([_MOST])
    try:
        yield
    finally:
        _left.reset(token)


def spend(steps: int) -> None:
    """Count steps.

    Args:
        steps: how many, none below 0.

    Raises:
        SecurityError: when there have been too many.
    """
    left = _left.get(None)
    if left is not None:
        left[0] -= steps
        if left[0] < 0:
            raise SecurityError(f"the template takes more than {_MOST:,} steps")


def steps_for(size: int) -> int:
    """The steps of what has a size.

    Args:
        size: characters, or items.
    """
    return size // _CHARS
