"""How large what a template makes would be, before it is made."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence, Set, Sized
from typing import Any, Final, cast

MOST_CHARS: Final = 1_000_000  # of one text that a template makes, and items of one list
_MOST_BITS: Final = 10_000  # of a whole number
_WIDE: Final = re.compile(r"\d{4,}|\*")  # a width or precision in a format


class TooLarge(ValueError):
    """A template makes something that is larger than any prompt."""


def check_size(size: int, what: str) -> None:
    """Refuse what would be too large.

    Args:
        size: characters, or items.
        what: names it in the error.

    Raises:
        TooLarge: when it is above a million.
    """
    if size > MOST_CHARS:
        raise TooLarge(f"{what} makes more than {MOST_CHARS:,} characters or items")


def weight(value: object) -> int:
    """About how many characters a value has when it is written, counted up to the most allowed.

    What is held several times counts several times, as it is written.

    Args:
        value: of any kind.
    """
    total, waiting = 0, [value]
    while waiting and total <= MOST_CHARS:
        part = waiting.pop()
        total += 1
        if isinstance(part, str | bytes):
            total += len(part)
        elif isinstance(part, int):
            total += part.bit_length() // 3
        elif isinstance(part, Mapping):
            pairs = cast(Mapping[object, object], part)
            waiting += [*pairs.keys(), *pairs.values()]
        elif isinstance(part, list | tuple | Set):
            waiting += cast(Iterable[object], part)
    return total


def _length(value: object) -> int:
    return len(value) if isinstance(value, Sized) else 1


def plus(left: Any, right: Any) -> Any:
    """Add, where the sum is not too large."""
    if isinstance(left, Sized):
        check_size(len(left) + _length(right), "+")
    return left + right


def times(left: Any, right: Any) -> Any:
    """Multiply, where the product is not too large."""
    for part, count in ((left, right), (right, left)):
        if isinstance(part, Sized) and isinstance(count, int):
            check_size(len(part) * count, "*")
    if isinstance(left, int) and isinstance(right, int):
        _check_bits(left.bit_length() + right.bit_length())
    return left * right


def power(left: Any, right: Any) -> Any:
    """Raise to a power, where the result is not too large."""
    if isinstance(left, int) and isinstance(right, int):
        _check_bits(left.bit_length() * abs(right))
    return left**right


def modulo(left: Any, right: Any) -> Any:
    """The remainder, or a text with values put in for its `%`, where it is not too large."""
    if not isinstance(left, str):
        return left % right
    if _WIDE.search(left):
        raise TooLarge("% on text takes no width above 999")
    check_size(len(left) + left.count("%") * (weight(right) + 999), "%")
    return left % right


def _check_bits(bits: int) -> None:
    if bits > _MOST_BITS:
        raise TooLarge(f"a whole number has more than {_MOST_BITS:,} bits")


def _replaced(text: object, old: object = "", new: object = "", *_: object, **__: object) -> int:
    length = _length(text)
    return length + (length // max(_length(old), 1) + 1) * _length(new)


def _joined(values: object, between: object = "", *_: object, **__: object) -> int:
    return weight(values) + _length(values) * _length(between)


def _joined_by(between: object, values: object = ()) -> int:
    return _joined(values, between)


def _padded(text: object, width: object = 80, *_: object, **__: object) -> int:
    return _length(text) + (width if isinstance(width, int) else 0)


def _indented(text: object, width: object = 4, *_: object, **__: object) -> int:
    step = width if isinstance(width, int) else _length(width)
    return _length(text) + (str(text).count("\n") + 1) * max(step, 0)


def _wrapped(
    text: object,
    width: object = 79,
    break_long_words: object = True,
    wrapstring: object = None,
    *_: object,
    **__: object,
) -> int:
    length = _length(text)
    step = max(width, 1) if isinstance(width, int) else 1
    return length + (length // step + str(text).count(" ") + 1) * max(_length(wrapstring), 1)


def _as_json(value: object, indent: object = None, *_: object, **__: object) -> int:
    return weight(value) * (1 + (max(indent, 0) if isinstance(indent, int) else 0))


def _grouped(values: object, count: object = 1, *_: object, **__: object) -> int:
    return _length(values) + (max(count, 0) if isinstance(count, int) else 0)


def _rounded(value: object, precision: object = 0, *_: object, **__: object) -> int:
    return abs(precision) * 1_000 if isinstance(precision, int) else 0


BY_FILTER: Final[Mapping[str, Callable[..., int]]] = {
    "replace": _replaced,
    "join": _joined,
    "center": _padded,
    "indent": _indented,
    "wordwrap": _wrapped,
    "tojson": _as_json,
    "batch": _grouped,
    "slice": _grouped,
    "round": _rounded,
}
"""Of filters that can make more than they are given: a bound on what they make."""

BY_METHOD: Final[Mapping[str, Callable[..., int]]] = {
    "replace": _replaced,
    "join": _joined_by,
}
"""The same of methods of text; the text is the first argument."""


def check_made(name: str, sizes: Mapping[str, Callable[..., int]], args: Sequence[Any]) -> None:
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
