"""How long a text can be at most."""

from __future__ import annotations

from weakref import WeakKeyDictionary

from typedllm.grammar.characters import contains
from typedllm.grammar.escapes import CHARACTER
from typedllm.grammar.regular import (
    Alt,
    Both,
    Chars,
    Concat,
    Distinct,
    Expr,
    Not,
    Nothing,
    Ordered,
    Repeat,
    Words,
)

_ESCAPE_BYTES = 6  # of the longest escape, such as \u001f
_BACKSLASH = b"\\"
_FIRST_BYTES = ((0xF0, 4), (0xE0, 3), (0xC2, 2))  # of characters of so many bytes, from so high on

_known: WeakKeyDictionary[Expr, int | None] = WeakKeyDictionary()


def longest(expr: Expr) -> int | None:
    """A bound on the bytes of every text that matches, or None where there may be none.

    It is exact but for an intersection, of which it is the least of a few bounds.
    """
    waiting = [expr]
    while waiting:  # a loop, however deep the parts nest
        part = waiting[-1]
        if part in _known:
            waiting.pop()
            continue
        missing = [other for other in _parts(part) if other not in _known]
        waiting += missing
        if not missing:
            _known[part] = _size(part)
    return _known[expr]


def _parts(expr: Expr) -> tuple[Expr, ...]:
    match expr:
        case Concat(head, tail):
            return (head, tail)
        case Alt(branches):
            return branches
        case Repeat(inner, _, _):
            return (inner,)
        case Both(left, right):
            return (left, right)
        case Ordered(_, values, _, _):
            return values
        case _:
            return ()


def _size(expr: Expr) -> int | None:
    sizes = [_known[part] for part in _parts(expr)]
    bounds = [size for size in sizes if size is not None]
    match expr:
        case Words(words, start, stop, depth):
            return max(map(len, words[start:stop])) - depth
        case Chars(ranges, seen):
            return len(chr(ranges[-1][1]).encode()) - len(seen)
        case Both(left, right):
            if isinstance(right, Repeat) and right.inner is CHARACTER and right.most is not None:
                bounds.append(right.most * _widest(left))
            return min(bounds, default=None)
        case Distinct(words, between, _, most):
            lengths = sorted(map(len, words), reverse=True)[:most]
            return sum(lengths) + (len(lengths) - 1) * len(between)
        case Nothing():
            return 0
        case Not():
            return None
        case Repeat(_, _, most):
            return most * bounds[0] if bounds and most is not None else None
        case Concat():
            return sum(bounds) if len(bounds) == len(sizes) else None
        case Alt():
            return max(bounds) if len(bounds) == len(sizes) else None
        case Ordered(keys, _, picks, depth):  # the first pick, and all that may come after it
            values = sizes[picks[0] :]
            found = [size for size in values if size is not None]
            names = sum(len(key) + len(",") for key in keys[picks[0] :])
            return names + sum(found) - len(",") - depth if len(found) == len(values) else None


def _widest(content: Expr) -> int:
    """The most bytes of one character of what stands in a JSON string."""
    waiting, entered, most = [content], set[Expr](), 1
    while waiting:
        part = waiting.pop()
        if part in entered:
            continue
        entered.add(part)
        match part:
            case Words(words, _, _, _):
                most = max(most, *map(_widest_of, words))
            case Chars(ranges, _):
                escapes = contains(ranges, ord(_BACKSLASH))
                top = len(chr(ranges[-1][1]).encode())
                most = max(most, _ESCAPE_BYTES if escapes else top)
            case Both(left, _):
                waiting.append(left)
            case Concat() | Alt() | Repeat():
                waiting += _parts(part)
            case _:
                return _ESCAPE_BYTES
    return most


def _widest_of(word: bytes) -> int:
    if _BACKSLASH in word:
        return _ESCAPE_BYTES
    top = max(word, default=0)
    return next((size for least, size in _FIRST_BYTES if top >= least), 1)
