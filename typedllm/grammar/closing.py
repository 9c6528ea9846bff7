"""How a text is closed: the shortest text of an expression, and the most that closing can take."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from heapq import heappop, heappush
from itertools import pairwise

from typedllm.grammar.characters import LAST_CODE_POINT, Ranges, encoded_size, first_char
from typedllm.grammar.complexity import TooComplex
from typedllm.grammar.escapes import CHARACTER
from typedllm.grammar.regular import (
    NOTHING,
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
    chain,
    derive_all,
    nullable,
)
from typedllm.grammar.sizes import longest

_STATES = 2_000  # of an intersection, before a way out of it is given up
_SOME_STATES = 1_000  # of a pattern with a most length
_FEW_STATES = 200  # of a pattern with a least length, which bounds what closes it too
_CHARACTER_BYTES = 6  # of an escape
_MID_CHARACTER = 3  # bytes that may be left of a character that has been begun
_LONGEST = 1_000_000  # bytes of a shortest text
_ANYTHING = 10**9  # bytes; a reserve that no budget exceeds
_PLAIN = "x0aA "  # characters to fill a least length with, where the class has one of them


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
        case Not():  # no more than a bound on that of the `Both` around it
            return b""
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
    if first is not None and first > 4 * _STATES:  # each character is a state, of 4 bytes at most
        raise TooComplex(f"an intersection has more than {_STATES:,} states")
    waiting = [] if first is None else [(first, 0, 0, b"", expr)]
    known = {expr: 0}
    while waiting:
        *_, text, state = heappop(waiting)
        if nullable(state):
            return text
        for more, after in steps(state):
            longer = text + more
            left = _least_left(after)
            if left is None or known.get(after, _ANYTHING) <= len(longer):
                continue
            if len(known) == _STATES:
                raise TooComplex(f"an intersection has more than {_STATES:,} states")
            known[after] = len(longer)
            # Among equals the longest text first, then the one that was found first.
            heappush(waiting, (len(longer) + left, -len(longer), len(known), longer, after))
    return None


def _least_left(state: Expr) -> int | None:
    sides: list[Expr] = []
    while isinstance(state, Both):
        sides.append(state.right)
        state = state.left
    found = [shortest(side) for side in (state, *sides)]
    return None if None in found else max(len(text) for text in found if text is not None)


_Graph = dict[Expr, list[tuple[bytes, Expr]]]


def _explored(expr: Expr, most: int) -> _Graph | None:
    """The states before each character, with their steps; None when they are more than `most`."""
    waiting, known = [expr], _Graph()
    while waiting:
        state = waiting.pop()
        if state not in known:
            if len(known) == most:
                return None
            known[state] = steps(state)
            waiting += [after for _, after in known[state]]
    return known


def _farthest(graph: _Graph, size_of: Callable[[bytes], int]) -> int:
    """The longest of the shortest ways to an end, from any state that has one."""
    numbers = {state: number for number, state in enumerate(graph)}
    before: dict[int, list[tuple[int, int]]] = {}
    for state, ways in graph.items():
        for text, after in ways:
            before.setdefault(numbers[after], []).append((size_of(text), numbers[state]))
    waiting = [(0, number) for state, number in numbers.items() if nullable(state)]
    reached: dict[int, int] = {}
    while waiting:
        size, number = heappop(waiting)
        if number not in reached:
            reached[number] = size
            for more, other in before.get(number, ()):
                heappush(waiting, (size + more, other))
    return max(reached.values(), default=0)


def steps(state: Expr) -> list[tuple[bytes, Expr]]:
    """The rest of one character, with what follows, of every class that the state tells apart."""
    found = ((text, derive_all(state, text)) for text in told_apart(state))
    return [(text, after) for text, after in found if after is not NOTHING]


def told_apart(*states: Expr) -> Sequence[bytes]:
    """The rest of one character of every class that states tell apart, letters and digits first.

    Args:
        states: which have all read the same first bytes of a character, if any.
    """
    found = frozenset[int]().union(*map(edges, states))
    return _between(found, max(map(_seen, states), key=len))


@lru_cache(maxsize=4096)
def _between(edges: frozenset[int], seen: bytes) -> Sequence[bytes]:
    """The rest of one character between each two edges; most states of an expression share them."""
    points = sorted({0, *_SURROGATES, LAST_CODE_POINT + 1} | edges)
    chars = (_plain_char(((low, high - 1),), seen) for low, high in pairwise(points))
    found = [char for char in chars if char is not None and not _is_surrogate(char)]
    found.sort(key=lambda char: (not char.isalnum(), not char.isprintable()))
    return [char.encode()[len(seen) :] for char in found]


_SURROGATES = (0xD800, 0xE000)


def _is_surrogate(char: str) -> bool:
    return _SURROGATES[0] <= ord(char) < _SURROGATES[1]


@lru_cache(maxsize=65536)
def _seen(expr: Expr) -> bytes:
    """The bytes of a character that has not been read to its end."""
    match expr:
        case Words(words, start, _, depth):
            return _begun(words[start], depth)
        case Chars(_, seen):
            return seen
        case Concat(head, _):
            return _seen(head)
        case Alt(branches):
            return max(map(_seen, branches), key=len)
        case Both(left, right):
            return _seen(left) or _seen(right)
        case Not(inner):
            return _seen(inner)
        case Ordered(keys, _, picks, depth):
            return _begun(keys[picks[0]], depth)
        case _:
            return b""


def _begun(word: bytes, depth: int) -> bytes:
    start = depth
    while start < len(word) and start > 0 and word[start] & 0xC0 == 0x80:
        start -= 1
    return word[start:depth]


@lru_cache(maxsize=65536)
def edges(expr: Expr) -> frozenset[int]:
    """Code points at which the derivative by the first character may change."""
    match expr:
        case Nothing():
            return frozenset()
        case Words(words, start, stop, depth):
            return _first_points({words[i][depth - len(_seen(expr)) :] for i in range(start, stop)})
        case Chars(ranges, _):
            return frozenset(edge for low, high in ranges for edge in (low, high + 1))
        case Concat(head, tail):
            return edges(head) | edges(tail) if nullable(head) else edges(head)
        case Alt(branches):
            return frozenset[int]().union(*map(edges, branches))
        case Repeat(inner, _, _):
            return edges(inner)
        case Both(left, right):
            return edges(left) | edges(right)
        case Not(inner):
            return edges(inner)
        case Distinct(words, _, _, _):
            return _first_points(set(words))
        case Ordered(keys, _, picks, depth):
            return _first_points({keys[pick][depth - len(_seen(expr)) :] for pick in picks})


def _first_points(words: set[bytes]) -> frozenset[int]:
    firsts = {ord(word[: encoded_size(word[0])].decode()) for word in words if word}
    return frozenset(edge for point in firsts for edge in (point, point + 1))


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
        case Not():
            return 0
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
    most = longest(expr)
    if isinstance(right, Repeat) and right.inner is CHARACTER:
        # What may be closed at all may be closed by the fewest characters that end `left`; where
        # there is a least length, by that many and one for each state (cycles can be left out).
        graph = _explored(left, _FEW_STATES if right.least else _SOME_STATES)
        if graph is None:
            bound = None
        elif right.least:
            bound = _reserve(left) + _CHARACTER_BYTES * (right.least + len(graph))
        else:
            bound = _CHARACTER_BYTES * (1 + _farthest(graph, lambda text: 1))
    else:
        graph = _explored(expr, _STATES if most is None else min(most, _STATES))
        bound = None if graph is None else _farthest(graph, len) + _MID_CHARACTER
    return min((size for size in (bound, most) if size is not None), default=_ANYTHING)
