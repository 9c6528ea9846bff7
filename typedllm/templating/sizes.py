"""How large what a template makes would be, before it is made."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence, Set, Sized, ValuesView
from itertools import islice
from typing import Any, Final, cast

from typedllm.templating.steps import spend, steps_for

MOST_CHARS: Final = 1_000_000  # of one text that a template makes, and items of one list
MOST_BITS: Final = 64  # of a whole number that is worked out
_SLOW: Final = 1_000  # characters compared in the time that one is made
_WIDE: Final = re.compile(r"\d{4,}|\*")  # a width or precision in a format


class TooLarge(ValueError):
    """A template makes something that is larger than any prompt."""


def check_size(size: int, what: str) -> None:
    """Refuse what would be too large, and count it.

    Args:
        size: characters, or items.
        what: names it in the error.

    Raises:
        TooLarge: when it is above a million.
        SecurityError: when there have been too many steps.
    """
    if size > MOST_CHARS:
        raise TooLarge(f"{what} makes more than {MOST_CHARS:,} characters or items")
    spend(steps_for(size))


def check_bits(value: Any) -> Any:
    """Refuse a whole number of too many digits; any other value is given back.

    Larger ones can be made to have all the same hash, and what is slow with such is not counted.

    Args:
        value: of any kind.

    Raises:
        TooLarge: when it has more than 64 bits.
    """
    if isinstance(value, int) and value.bit_length() > MOST_BITS:
        raise TooLarge(f"a whole number has more than {MOST_BITS} bits")
    return value


def weight(value: object) -> int:
    """About how many characters a value has when it is written, counted up to the most allowed.

    What is held several times counts several times, as it is written.

    Args:
        value: of any kind.
    """
    total, waiting = 0, [value]
    while waiting and total <= MOST_CHARS:
        part = waiting.pop()
        total += 2  # what stands between it and the next one
        if isinstance(part, str | bytes):
            total += len(part)
        elif isinstance(part, int):
            total += part.bit_length() // 3
        elif isinstance(part, list | tuple):
            waiting += islice(cast(Iterable[object], part), MOST_CHARS)
            total += 2
        elif isinstance(part, float | None):
            pass  # the checks below take longer
        elif isinstance(part, Mapping):
            pairs = cast(Mapping[object, object], part)
            waiting += [*islice(pairs.keys(), MOST_CHARS), *islice(pairs.values(), MOST_CHARS)]
            total += 2
        elif isinstance(part, Set | ValuesView):
            waiting += islice(cast(Iterable[object], part), MOST_CHARS)
            total += 2
    return total


def _length(value: object) -> int:
    return len(value) if isinstance(value, Sized) else 1


def plus(left: Any, right: Any) -> Any:
    """Add, where the sum is not too large."""
    if isinstance(left, Sized):
        check_size(len(left) + _length(right), "+")
    return check_bits(left + right)


def minus(left: Any, right: Any) -> Any:
    """Subtract, where the difference is not too large."""
    if isinstance(left, Sized):
        check_size(len(left) + _length(right), "-")
    return check_bits(left - right)


def times(left: Any, right: Any) -> Any:
    """Multiply, where the product is not too large."""
    for part, count in ((left, right), (right, left)):
        if isinstance(part, Sized) and isinstance(count, int):
            check_size((weight(part) - 2) * max(count, 0), "*")
    return check_bits(left * right)


def power(left: Any, right: Any) -> Any:
    """Raise to a power, where the result is not too large."""
    if not isinstance(left, int | float) or not isinstance(right, int | float):
        raise TooLarge("** takes an int or a float")
    if isinstance(left, int) and isinstance(right, int):
        check_bits(1 << min(max(left.bit_length() - 1, 0) * max(right, 0), MOST_BITS))
    return check_bits(left**right)


def modulo(left: Any, right: Any) -> Any:
    """The remainder, or a text with values put in for its `%`, where it is not too large."""
    if isinstance(left, bytes | bytearray):
        raise TooLarge("% takes text, not bytes")
    if not isinstance(left, str):
        return left % right
    if _WIDE.search(left):
        raise TooLarge("% on text takes no width above 999")
    check_size(len(left) + left.count("%") * (weight(right) + 999), "%")
    return left % right


def _sought(text: object, part: object = "", *_: object) -> int:
    """What is sought from the end, or character by character, is sought slowly."""
    return weight(text) + weight(text) * weight(part) // _SLOW


def _replaced(text: object, old: object = "", new: object = "", *_: object) -> int:
    length = weight(text)
    return length + (length // max(_length(old), 1) + 1) * (weight(new) - 2)


def _joined(values: object, between: object = "", *_: object) -> int:
    return weight(values) + _length(values) * (weight(between) - 2)


def _joined_by(between: object, values: object = ()) -> int:
    return _joined(values, between)


def _padded(text: object, width: object = 80) -> int:
    return weight(text) + (width if isinstance(width, int) else 0)


def _indented(text: object, width: object = 4, *_: object) -> int:
    step = width if isinstance(width, int) else _length(width)
    return weight(text) + (len(str(text).splitlines()) + 1) * max(step, 0)


def _wrapped(
    text: object,
    width: object = 79,
    break_long_words: object = True,
    wrapstring: object = None,
    *_: object,
) -> int:
    lines = _length(text) + 1  # at most, each of which is cut off what is left of its word
    longest = max(map(len, str(text).split()), default=0)
    return lines * (1 + _length(wrapstring or "\n")) + longest * longest // _SLOW


def _as_json(
    value: object,
    ensure_ascii: object = False,
    indent: object = None,
    separators: object = None,
    *_: object,
) -> int:
    step = max(indent, 0) if isinstance(indent, int) else _length(indent or "")
    return weight(value) * (1 + step) + weight(value) * (weight(separators) - 2)


def _grouped(values: object, count: object = 1, *_: object) -> int:
    return weight(values) + (max(count, 0) if isinstance(count, int) else 0)


def _rounded(value: object, precision: object = 0, *_: object) -> int:
    return abs(precision) * 1_000 if isinstance(precision, int) else 0


def _summed(values: object, attribute: object = None, start: object = 0) -> int:
    if isinstance(start, Sized):  # which would be copied at each step
        raise TooLarge("sum adds numbers")
    return weight(values)


BY_FILTER: Final[Mapping[str, Callable[..., int]]] = {
    "trim": _sought,
    "replace": _replaced,
    "join": _joined,
    "center": _padded,
    "indent": _indented,
    "wordwrap": _wrapped,
    "tojson": _as_json,
    "batch": _grouped,
    "slice": _grouped,
    "round": _rounded,
    "sum": _summed,
}
"""Of filters that can make more than they are given, or take long: a bound on what they make."""

BY_METHOD: Final[Mapping[str, Callable[..., int]]] = {
    "replace": _replaced,
    "join": _joined_by,
    **dict.fromkeys(("strip", "lstrip", "rstrip", "rfind", "rsplit", "rpartition"), _sought),
}
"""The same of methods of text; the text is the first argument."""


def check_given(name: str, sizes: Mapping[str, Callable[..., int]], args: Sequence[Any]) -> None:
    """Check what a filter or method is given, and what it would make.

    Args:
        name: of the filter or method.
        sizes: bounds by name.
        args: what it is given, beginning with what it works on.

    Raises:
        TooLarge: when one of them is too large.
    """
    for value in args:
        check_size(weight(value), name)
    if name in sizes:
        check_size(sizes[name](*args), name)


def check_made(name: str, value: object) -> None:
    """Check what was made.

    Args:
        name: of what made it.
        value: of any kind.

    Raises:
        TooLarge: when it is too large.
    """
    check_size(weight(value), name)
