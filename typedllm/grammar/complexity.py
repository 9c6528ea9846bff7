"""The error of expressions that are not worth working on."""

from __future__ import annotations


class TooComplex(ValueError):
    """An expression is too large, or has too many states, or too long a shortest text."""
