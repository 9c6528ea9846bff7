"""How a text is closed: the shortest text of an expression, and the most that closing can take."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from heapq import heappop, heappush
from itertools import pairwise

from typedllm.grammar.characters import Ranges, first_char
from typedllm.grammar.escapes import CHARACTER
from typedllm.grammar.regular import (
    NOTHING,
    Alt,
    Both,
    Chars,
    Concat,
    Distinct,
    Expr,
    Nothing,
    Ordered,
    Repeat,
    Words,
    chain,
    derive,
    nullable,
)

_STATES = 2_000  # of an intersection, before a way out of it is given up
_FEW_STATES = 200  # of a pattern whose length is bounded, which bounds what closes it too
_LONGEST = 1_000_000  # bytes of a shortest text
_ANYTHING = 10**9  # bytes; a reserve that no budget exceeds
_PLAIN = "x0aA"  # characters to fill a least length with, where the class has one of them


@lru_cache(maxsize=65536)
def shortest(expr: Expr) -> bytes | None:
    """A shortest text (in bytes) that matches, or None when nothing does.

    Raises:
        TooComplex: when it has more than a million bytes, or an intersection has too many states.
    """
    match expr:
        case Nothing():
            return None
        case Words(words, start, stop, depth):
            return min((words[i][depth:] for i in range(start, stop)), key=len)
        case Chars(ranges, seen):
            char = _plain_char(ranges, seen)
            return None if char is None else char.encode()[len(seen) :]
        case Concat():
            parts = [shortest(part) for part in chain(expr)]
            return None if None in parts else b"".join(part for part in parts if part is not None)
        case Alt(branches):
            found = [text for text in map(shortest, branches) if text is not None]
            return min(found, key=len) if found else None
        case Repeat(inner, least, _):
            text = shortest(inner) if least else b""
            return None if text is None else _times(text, least)
        case Both():
            return _shortest_of_both(expr)
        case Distinct(words, between, least, _):
            return between.join(sorted(words, key=len)[:least])
        case Ordered(keys, values, picks, depth):
            ways = [(shortest(values[pick]), keys[pick][depth:]) for pick in picks]
            return min((key + text for text, key in ways if text is not None), key=len)


def _times(text: bytes, count: int) -> bytes:
    if len(text) * count > _LONGEST:
        raise TooComplex(f"its shortest text has more than {_LONGEST:,} bytes")
    return text * count


def _plain_char(ranges: Ranges, seen: bytes) -> str | None:
    if not seen:
        for char in _PLAIN:
            if any(low <= ord(char) <= high for low, high in ranges):
                return char
    return first_char(ranges, seen)


def _shortest_of_both(expr: Expr) -> bytes | None:
    # Best first (A*): what is left is at least as long as the shortest rest of either side.
    first = _least_left(expr)
    waiting = [] if first is None else [(first, 0, b"", expr)]
    known = {expr: 0}
    while waiting:
        _, _, text, state = heappop(waiting)
        if nullable(state):
            return text
        for byte, after in steps(state):
            longer = text + bytes((byte,))
            left = _least_left(after)
            if left is None or known.get(after, _ANYTHING) <= len(longer):
                continue
            if len(known) == _STATES:
                raise TooComplex(f"an intersection has more than {_STATES:,} states")
            known[after] = len(longer)
            # The longest text first among equals; a text has one state, so none are compared.
            heappush(waiting, (len(longer) + left, -len(longer), longer, after))
    return None


def _least_left(state: Expr) -> int | None:
    sides = (state.left, state.right) if isinstance(state, Both) else (state,)
    found = [shortest(side) for side in sides]
    return None if None in found else max(len(text) for text in found if text is not None)


class TooComplex(ValueError):
    """An expression has too many states, or too long a shortest text, to be worth exploring."""


def _states(expr: Expr, most: int = _STATES) -> int | None:
    """The number of states, or None when they are more than `most`."""
    waiting, known = [expr], {expr}
    while waiting:
        for _, after in steps(waiting.pop()):
            if after not in known:
                if len(known) == most:
                    return None
                known.add(after)
                waiting.append(after)
    return len(known)


def steps(state: Expr) -> list[tuple[int, Expr]]:
    """One byte, with what follows it, of every class of bytes that the state tells apart."""
    edges = sorted(_edges(state))
    out: list[tuple[int, Expr]] = []
    for low, high in pairwise((*edges, 256)):
        byte = next((ord(char) for char in _PLAIN if low <= ord(char) < high), low)
        after = derive(state, byte)
        if after is not NOTHING:
            out.append((byte, after))
    return out


@lru_cache(maxsize=65536)
def _edges(expr: Expr) -> frozenset[int]:
    """Bytes at which the derivative by the first byte may change."""
    match expr:
        case Nothing():
            return frozenset()
        case Words(words, start, stop, depth):
            firsts = {words[i][depth] for i in range(start, stop) if len(words[i]) > depth}
            return frozenset(edge for byte in firsts for edge in (byte, byte + 1))
        case Chars(ranges, seen):
            return _char_edges(ranges, seen)
        case Concat(head, tail):
            return _edges(head) | _edges(tail) if nullable(head) else _edges(head)
        case Alt(branches):
            return frozenset[int]().union(*map(_edges, branches))
        case Repeat(inner, _, _):
            return _edges(inner)
        case Both(left, right):
            return _edges(left) | _edges(right)
        case Distinct(words, _, _, _):
            return frozenset(edge for word in words for edge in (word[0], word[0] + 1))
        case Ordered(keys, _, picks, depth):
            firsts = {keys[pick][depth] for pick in picks}
            return frozenset(edge for byte in firsts for edge in (byte, byte + 1))


_UTF8_EDGES = (0x80, 0x90, 0xA0, 0xC0, 0xC2, 0xE0, 0xE1, 0xED, 0xEE, 0xF0, 0xF1, 0xF4, 0xF5)


def _char_edges(ranges: Ranges, seen: bytes) -> frozenset[int]:
    position = len(seen)
    out: set[int] = set(_UTF8_EDGES)
    for low_high in ranges:
        for encoded in (chr(point).encode() for point in low_high):
            if encoded.startswith(seen) and len(encoded) > position:
                out.update((encoded[position], encoded[position] + 1))
    return frozenset(out)


@lru_cache(maxsize=1024)
def reserve(expr: Expr) -> int:
    """The most bytes that closing can take, from any point of any matching text.

    An upper bound on `len(shortest(...))` over all derivatives that match something.
    """
    for part in _inner_first(expr):  # each then finds its parts known, however deep they nest
        _reserve(part)
    return _reserve(expr)


def _inner_first(expr: Expr) -> Iterator[Expr]:
    waiting, entered = [expr], set[Expr]()
    while waiting:
        part = waiting[-1]
        inner = () if part in entered else _inner(part)
        entered.add(part)
        waiting.extend(other for other in inner if other not in entered)
        if waiting[-1] is part:
            yield waiting.pop()


def _inner(expr: Expr) -> tuple[Expr, ...]:
    match expr:
        case Concat():
            return tuple(chain(expr))
        case Alt(branches):
            return branches
        case Repeat(inner, _, _):
            return (inner,)
        case Ordered(_, values, _, _):
            return values
        case _:
            return ()


@lru_cache(maxsize=65536)
def _reserve(expr: Expr) -> int:
    match expr:
        case Nothing():
            return 0
        case Words(words, start, stop, depth):
            return _reserve_of_words(words[start:stop], depth)
        case Chars(ranges, _):
            return max(len(_shortest(expr)), len(chr(ranges[-1][1]).encode()) - 1)
        case Concat():
            return _reserve_of_chain(chain(expr))
        case Alt(branches):
            return max(map(_reserve, branches))
        case Repeat(inner, least, _):
            return _reserve(inner) + max(least - 1, 0) * len(_shortest(inner))
        case Both(left, right):
            return _reserve_of_both(expr, left, right)
        case Distinct(words, between, least, _):
            return (max(map(len, words)) + len(between)) * max(least, 1)
        case Ordered(keys, values, picks, _):
            return max(
                max(1 + len(keys[pick]) + len(_shortest(values[pick])), _reserve(values[pick]))
                for pick in range(picks[0], len(keys))
            )


def _shortest(expr: Expr) -> bytes:
    return shortest(expr) or b""


def _reserve_of_chain(parts: list[Expr]) -> int:
    worst = after = 0
    for part in reversed(parts):
        worst, after = max(_reserve(part) + after, worst), len(_shortest(part)) + after
    return worst


def _reserve_of_words(found: tuple[bytes, ...], depth: int) -> int:
    # A prefix is closed by the shortest word that has it.
    worst = 0
    groups: list[tuple[Sequence[bytes], int]] = [(found, depth)]
    while groups:
        group, depth = groups.pop()
        worst = max(worst, min(map(len, group)) - depth)
        by_byte: dict[int, list[bytes]] = {}
        for word in group if len(group) > 1 else ():
            if len(word) > depth:
                by_byte.setdefault(word[depth], []).append(word)
        groups.extend((words, depth + 1) for words in by_byte.values())
    return worst


def _reserve_of_both(expr: Expr, left: Expr, right: Expr) -> int:
    if isinstance(right, Repeat) and right.inner is CHARACTER:
        # A way out of `left` needs at most as many characters as it has states beyond those that
        # the least length asks for (cycles can be left out); an escape has at most 6 bytes.
        states = _states(left, _STATES if right.most is None else min(right.most, _FEW_STATES))
        if states is None:
            return _ANYTHING if right.most is None else 6 * right.most
        return _reserve(left) + 6 * (right.least + states)
    return _states(expr) or _ANYTHING
