"""Checks of what a caller gives, whatever the type hints say."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable
from difflib import get_close_matches
from numbers import Integral, Real
from typing import Any

from typedllm.errors import UsageError

__all__ = ["check_extra", "check_kind", "check_number", "check_text", "nearest"]


def check_kind(place: str, value: object, kind: type) -> None:
    """Check that a value is of a class.

    Args:
        place: what the caller calls it, such as `sampling`.
        value: what was given; None is left to the caller's default.
        kind: the class.

    Raises:
        UsageError: when it is not.
    """
    if value is not None and not isinstance(value, kind):
        raise UsageError(f"{place}: expected {_a(kind.__name__)}, got {_told(value)}")


def check_number(
    place: str,
    value: object,
    *,
    least: float = 0,
    most: float = math.inf,
    above_least: bool = False,
    whole: bool = False,
    or_none: bool = False,
) -> None:
    """Check that a value is a finite number of a range.

    Args:
        place: what the caller calls it, such as `Sampling.top_p`.
        value: what was given.
        least: the least number allowed.
        most: the greatest number allowed.
        above_least: whether `least` itself is not allowed.
        whole: whether it has to be a whole number.
        or_none: whether None is allowed too.

    Raises:
        UsageError: when it is not.
    """
    if value is None and or_none:
        return
    number: Any = value  # of a kind that can be compared, which `Real` does not promise
    if isinstance(value, Integral if whole else Real) and type(number) is not bool:
        above = number > least if above_least else number >= least
        if above and number <= most and number < math.inf:
            return
    start = f"above {least}" if above_least else f"from {least}"
    end = "" if most == math.inf else f" up to {most}"
    what = f"{'whole ' if whole else ''}number {start}{end}{', or None' if or_none else ''}"
    raise UsageError(f"{place}: expected a {what}, got {_told(value)}")


def check_extra(
    names: Iterable[str], *, ours: Collection[str], known: Collection[str], whose: str
) -> None:
    """Check the names of `Sampling.extra` for an engine that passes them on.

    Args:
        names: what was given.
        ours: those that typedllm sets itself.
        known: those that there are; empty where nobody tells.
        whose: who knows them, such as `the vLLM server`.

    Raises:
        UsageError: for the first that cannot be passed on, with the nearest that can.
    """
    for name in names:
        if name in ours:
            raise UsageError(f"Sampling.extra: {name!r} is for typedllm to say")
        if known and name not in known:
            hint = nearest(name, known)
            raise UsageError(f"Sampling.extra: {whose} has no option {name!r}{hint}")


def nearest(word: str, known: Collection[str]) -> str:
    """Say which of some known words another one may have been meant for.

    Args:
        word: what was given.
        known: the words.

    Returns:
        Words for the end of a message, such as ` (did you mean 'top_k'?)`; empty for none.
    """
    near = get_close_matches(word, known, n=1)
    return f" (did you mean {near[0]!r}?)" if near else ""


def check_text(place: str, value: object) -> None:
    """Check that a value is text that can be written as UTF-8.

    Args:
        place: what the caller calls it, such as `prompt[1].content`.
        value: what was given.

    Raises:
        UsageError: when it is no text, or holds a lone surrogate.
    """
    if not isinstance(value, str):
        raise UsageError(f"{place}: expected a str, got {_told(value)}")
    if value.isascii():
        return
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise UsageError(
            f"{place}: a lone surrogate (U+{ord(value[error.start]):04X}) at character "
            f"{error.start}; decode the text with errors='replace' where it is read"
        ) from None


def _a(noun: str) -> str:
    return f"an {noun}" if noun[0] in "aeiouAEIOU" else f"a {noun}"


def _told(value: object) -> str:
    text = repr(value)
    return f"{type(value).__name__} {text if len(text) <= 40 else text[:37] + '...'}"
