"""Regular expressions over UTF-8 bytes, as an algebra with derivatives.

An expression is made by the functions below, which simplify and intern: equal expressions are the
same object, so they can be compared and remembered by identity. `derive(e, b)` is what may still
follow after the byte `b` (Brzozowski, "Derivatives of Regular Expressions", 1964); everything that
typedllm must know of a grammar while it decodes (may it end, how is it closed, by how many bytes)
is read off derivatives.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias
from weakref import WeakValueDictionary

from typedllm.grammar.characters import (
    LAST_CODE_POINT,
    Ranges,
    contains,
    encoded_size,
    first_char,
    merged,
)
from typedllm.grammar.complexity import TooComplex

_MOST_PARTS = 200_000  # that stand one after the other


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Nothing:
    """Matches no text at all."""


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Words:
    """Matches what is left, from byte `depth` on, of the sorted words `start` to `stop`."""

    words: tuple[bytes, ...]
    start: int
    stop: int
    depth: int


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Chars:
    """Matches the rest of one character of `ranges` whose first bytes, `seen`, have been read."""

    ranges: Ranges
    seen: bytes


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Concat:
    """Matches `head`, then `tail`."""

    head: Expr
    tail: Expr


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Alt:
    """Matches any of its branches."""

    branches: tuple[Expr, ...]


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Repeat:
    """Matches `inner` from `least` to `most` times; `most` None is without bound."""

    inner: Expr
    least: int
    most: int | None


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Both:
    """Matches what both sides match."""

    left: Expr
    right: Expr


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Not:
    """Matches what `inner` does not; the right side of a `Both`, whose left side says of what."""

    inner: Expr


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Distinct:
    """Matches `least` to `most` of the `words`, each at most once, with `between` between them."""

    words: tuple[bytes, ...]
    between: bytes
    least: int
    most: int


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Ordered:
    """Matches one or more of the pairs of a key and a value, in their order, with `,` between them.

    Of the first key, which is one of `picks`, `depth` bytes have been read. No key is the beginning
    of another.
    """

    keys: tuple[bytes, ...]
    values: tuple[Expr, ...]
    picks: Sequence[int]
    depth: int


Expr: TypeAlias = Nothing | Words | Chars | Concat | Alt | Repeat | Both | Not | Distinct | Ordered

_interned: WeakValueDictionary[tuple[object, ...], Expr] = WeakValueDictionary()


def interned(kind: Callable[..., Expr], *parts: object) -> Expr:
    """Make an expression of parts that are such, or find it made."""
    # Children are interned, hence compared by identity; the new one keeps them alive.
    key = (kind, *parts)
    found = _interned.get(key)
    if found is None:
        found = kind(*parts)
        _interned[key] = found
    return found


NOTHING: Expr = Nothing()
ALL: Expr = interned(Not, NOTHING)  # whatever follows, on the right side of a `Both`


def words(texts: Iterable[str]) -> Expr:
    """Match any of some texts."""
    found = tuple(sorted({text.encode() for text in texts}))
    return interned(Words, found, 0, len(found), 0) if found else NOTHING


def literal(text: str) -> Expr:
    """Match one text."""
    return _word(text.encode())


def _word(text: bytes) -> Expr:
    return interned(Words, (text,), 0, 1, 0)


EMPTY: Expr = literal("")


def chars(ranges: Iterable[tuple[int, int]]) -> Expr:
    """Match one character out of ranges of code points."""
    found = merged(ranges)
    return interned(Chars, found, b"") if found else NOTHING


ANY: Expr = chars([(0, LAST_CODE_POINT)])


def concat(*parts: Expr) -> Expr:
    """Match the parts one after the other; `TooComplex` for more than 200,000 parts."""
    out = EMPTY
    for part in reversed(parts):
        out = _pair(part, out)
    return out


def _pair(head: Expr, tail: Expr) -> Expr:
    if head is NOTHING or tail is NOTHING:
        return NOTHING
    if head is EMPTY:
        return tail
    if tail is EMPTY:
        return head
    if tail is ALL and nullable(head):
        return ALL
    if isinstance(head, Concat):  # to the right, so that a derivative touches only the first part
        return concat(*chain(head), tail)
    first = tail.head if isinstance(tail, Concat) else tail
    if isinstance(head, Repeat) and head is first and (head.least, head.most) == (0, None):
        return tail  # x* x* is x*
    return interned(Concat, head, tail)


def chain(expr: Expr) -> list[Expr]:
    """The parts that stand one after the other; a loop, since an object is a long chain."""
    parts: list[Expr] = []
    while isinstance(expr, Concat):
        parts.append(expr.head)
        expr = expr.tail
        if len(parts) > _MOST_PARTS:
            raise TooComplex(f"more than {_MOST_PARTS:,} parts stand one after the other")
    return [*parts, expr]


def alt(*branches: Expr) -> Expr:
    """Match any of the branches."""
    flat: dict[Expr, None] = {}
    for branch in branches:
        if isinstance(branch, Alt):
            flat.update(dict.fromkeys(branch.branches))
        elif branch is not NOTHING:
            flat[branch] = None
    if ALL in flat:
        return ALL
    if not flat:
        return NOTHING
    return next(iter(flat)) if len(flat) == 1 else interned(Alt, tuple(flat))


def repeat(inner: Expr, least: int = 0, most: int | None = None) -> Expr:
    """Match `inner` from `least` to `most` times (None: without bound)."""
    if most is not None and most < least:
        return NOTHING
    if most == 0 or inner is EMPTY:
        return EMPTY
    if inner is NOTHING:
        return EMPTY if least == 0 else NOTHING
    if least == most == 1:
        return inner
    # An inner part that may be empty fills any least count, and must not count in a derivative.
    return interned(Repeat, inner, 0 if nullable(inner) else least, most)


def optional(inner: Expr) -> Expr:
    """Match `inner` or the empty text."""
    return inner if nullable(inner) else alt(inner, EMPTY)


def both(left: Expr, right: Expr) -> Expr:
    """Match what both sides match."""
    if left is NOTHING or right is NOTHING:
        return NOTHING
    if left is right or right is ALL:
        return left
    if left is ALL and not isinstance(right, Not):
        return right
    if EMPTY in (left, right):
        return EMPTY if nullable(left) and nullable(right) else NOTHING
    return interned(Both, left, right)


def difference(left: Expr, right: Expr) -> Expr:
    """Match what the left side matches and the right side does not."""
    return NOTHING if left is right else both(left, _complement(right))


def _complement(expr: Expr) -> Expr:
    return NOTHING if expr is ALL else interned(Not, expr)


def distinct(texts: Iterable[str], between: str, least: int, most: int | None) -> Expr:
    """Match some of the texts, none twice, with `between` between them."""
    found = tuple(sorted({text.encode() for text in texts}))
    bound = len(found) if most is None else min(most, len(found))
    return _distinct(found, between.encode(), least, bound)


def _distinct(found: tuple[bytes, ...], between: bytes, least: int, most: int) -> Expr:
    if least > most:
        return NOTHING
    return interned(Distinct, found, between, least, most) if most else EMPTY


def ordered(keys: Iterable[str], values: Iterable[Expr]) -> Expr:
    """Match one or more pairs of a key and its value, in their order, with `,` between them.

    Args:
        keys: texts of which none is the beginning of another.
        values: what follows each of them.
    """
    return _ordered(tuple(key.encode() for key in keys), tuple(values), 0)


def _ordered(keys: tuple[bytes, ...], values: tuple[Expr, ...], start: int) -> Expr:
    picks = range(start, len(keys))
    return interned(Ordered, keys, values, picks, 0) if picks else NOTHING


@lru_cache(maxsize=65536)
def nullable(expr: Expr) -> bool:
    """Whether the empty text matches."""
    match expr:
        case Nothing() | Chars() | Ordered():
            return False
        case Words(found, start, _, depth):
            return len(found[start]) == depth  # sorted: the shortest of a common prefix is first
        case Concat(head, tail):
            return nullable(head) and nullable(tail)
        case Alt(branches):
            return any(nullable(branch) for branch in branches)
        case Repeat(_, least, _):
            return least == 0
        case Both(left, right):
            return nullable(left) and nullable(right)
        case Not(inner):
            return not nullable(inner)
        case Distinct(_, _, least, _):
            return least == 0


@lru_cache(maxsize=65536)
def derive(expr: Expr, byte: int) -> Expr:
    """What may follow after `byte`."""
    match expr:
        case Nothing():
            return NOTHING
        case Words():
            return _derive_words(expr, byte)
        case Chars(ranges, seen):
            return _derive_chars(ranges, seen + bytes((byte,)))
        case Concat(head, tail):
            after = _pair(derive(head, byte), tail)
            return alt(after, derive(tail, byte)) if nullable(head) else after
        case Alt(branches):
            return alt(*(derive(branch, byte) for branch in branches))
        case Repeat(inner, least, most):
            after = derive(inner, byte)
            if after is NOTHING:
                return NOTHING
            rest = repeat(inner, max(least - 1, 0), None if most is None else most - 1)
            return _pair(after, rest)
        case Both(left, right):
            after = derive(left, byte)
            return NOTHING if after is NOTHING else both(after, derive(right, byte))
        case Not(inner):
            return _complement(derive(inner, byte))
        case Distinct():
            return _derive_distinct(expr, byte)
        case Ordered():
            return _derive_ordered(expr, byte)


def _derive_words(expr: Words, byte: int) -> Expr:
    found, depth = expr.words, expr.depth
    prefix = found[expr.start][:depth] + bytes((byte,))
    start = bisect_left(found, prefix, expr.start, expr.stop)
    if start == expr.stop or found[start][: depth + 1] != prefix:
        return NOTHING
    # UTF-8 has no byte 0xFF, so there is always one above.
    stop = bisect_left(found, prefix[:-1] + bytes((byte + 1,)), start, expr.stop)
    if stop - start == 1 and len(found[start]) == depth + 1:
        return EMPTY
    return interned(Words, found, start, stop, depth + 1)


def _derive_chars(ranges: Ranges, seen: bytes) -> Expr:
    size = encoded_size(seen[0])
    if size == 0:
        return NOTHING
    if len(seen) == size:
        try:
            point = ord(seen.decode())
        except UnicodeDecodeError:
            return NOTHING
        return EMPTY if contains(ranges, point) else NOTHING
    return NOTHING if first_char(ranges, seen) is None else interned(Chars, ranges, seen)


def _derive_distinct(expr: Distinct, byte: int) -> Expr:
    out: list[Expr] = []
    for word in expr.words:
        if word[0] != byte:
            continue
        rest = tuple(other for other in expr.words if other != word)
        most = min(expr.most - 1, len(rest))
        more = _distinct(rest, expr.between, max(expr.least - 1, 1), most) if most else NOTHING
        following = _pair(_word(expr.between), more)
        ends = optional(following) if expr.least <= 1 else following
        out.append(_pair(derive(_word(word), byte), ends))
    return alt(*out)


def _derive_ordered(expr: Ordered, byte: int) -> Expr:
    keys, values, depth = expr.keys, expr.values, expr.depth
    picks = [index for index in expr.picks if keys[index][depth] == byte]
    if not picks:
        return NOTHING
    index = picks[0]
    if len(picks) > 1:
        return interned(Ordered, keys, values, tuple(picks), depth + 1)
    more = _pair(literal(","), _ordered(keys, values, index + 1))
    return concat(_word(keys[index][depth + 1 :]), values[index], optional(more))


def derive_all(expr: Expr, text: bytes) -> Expr:
    """What may follow after all bytes of `text`."""
    for byte in text:
        expr = derive(expr, byte)
    return expr


def matches(expr: Expr, text: str) -> bool:
    """Whether the whole text matches."""
    return nullable(derive_all(expr, text.encode()))
