"""Limits fitted to a budget of tokens, so that an answer that was cut must end when asked again.

A token may be as little as one byte. So the strings and lists of a tree are bounded until its
longest text has no more bytes than there are tokens. All bounds follow one factor, and none of them
is above the caller's own or below what he asks at least.
"""

from __future__ import annotations

import json
import math
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias

from typedllm.grammar.closing import shortest, steps
from typedllm.grammar.complexity import TooComplex
from typedllm.grammar.escapes import escaped, quoted
from typedllm.grammar.expression import expression, text_content
from typedllm.grammar.regular import derive_all, nullable
from typedllm.grammar.sizes import longest
from typedllm.grammar.tree import Array, Literals, Member, Node, Object, OneOf, Scalar, Text
from typedllm.paths import ROOT, child
from typedllm.records import Grammar

_STRING_LENGTH = 1024  # characters, at a factor of 1
_ITEMS = 64
_PER_DOUBLING = 16  # steps of the factor
_DOUBLINGS = 10  # below a factor of 1, where a string has one character, and above
_STEPS = 2 * _DOUBLINGS * _PER_DOUBLING + 1  # of which the first is a factor of 0

_expression = lru_cache(maxsize=256)(expression)


@lru_cache(maxsize=256)
def fitted(grammar: Grammar, budget: int) -> Grammar | None:
    """Bound the strings and lists of a grammar so that every answer ends in a budget.

    Args:
        grammar: what an answer may be.
        budget: tokens, each of at least one byte.

    Returns:
        A grammar of fewer texts, the same for the same grammar and budget; None where even the
        least limits leave texts of more bytes.
    """

    def size(step: int) -> float:
        found = longest(expression(_scaled(grammar.root, step)))
        return math.inf if found is None else found

    step = bisect_right(range(_STEPS), budget, key=size) - 1
    return None if step < 0 else Grammar(_scaled(grammar.root, step))


def least_budget(root: Node) -> int | None:
    """The fewest tokens that a tree can be fitted to whatever they hold, or None for none.

    Args:
        root: the tree.
    """
    return longest(expression(_scaled(root, 0)))


def _scaled(root: Node, step: int) -> Node:
    factor = 2 ** (step / _PER_DOUBLING - _DOUBLINGS) if step else 0
    # Rounded up: a list is left empty only where not even one item fits.
    return _Scaling(math.ceil(_STRING_LENGTH * factor), math.ceil(_ITEMS * factor)).node(root)


class _Scaling:
    """Bounds a tree; shared nodes stay shared, and what needs no other bound stays the same."""

    def __init__(self, characters: int, items: int) -> None:
        self._characters = characters
        self._items = items
        self._known: dict[int, Node] = {}

    def node(self, node: Node) -> Node:
        found = self._known.get(id(node))
        if found is None:
            found = self._known[id(node)] = self._bounded(node)
        return found

    def _bounded(self, node: Node) -> Node:
        match node:
            case Literals() | Scalar():
                return node
            case Text():
                return self._text(node)
            case Array():
                return self._array(node)
            case Object():
                return self._object(node)
            case OneOf(branches):
                inner = tuple(map(self.node, branches))
                return node if _same(inner, branches) else OneOf(inner)

    def _text(self, node: Text) -> Text:
        least = node.min_length if node.pattern is None else _fewest(node)
        if least is None:
            return node
        most = max(least, self._characters)
        if node.max_length is not None and node.max_length <= most:
            return node
        if node.pattern is not None:
            size = longest(escaped(node.pattern))
            if size is not None and size <= most:  # the pattern ends it as soon
                return node
        return Text(node.pattern, node.min_length, most)

    def _array(self, node: Array) -> Array:
        prefix = tuple(map(self.node, node.prefix))
        item, most = node.item, node.max_items
        if item is not None:
            item = self.node(item)
            # The items of a prefix are like members, of which none is dropped.
            wanted = max(node.min_items, len(prefix) + self._items)
            bound = _most_items(node)
            most = most if bound is not None and bound <= wanted else wanted
        if item is node.item and most == node.max_items and _same(prefix, node.prefix):
            return node
        return Array(prefix, item, node.min_items, most, node.unique)

    def _object(self, node: Object) -> Object:
        members = tuple(
            member if inner is member.node else Member(member.name, inner, member.required)
            for member in node.members
            for inner in (self.node(member.node),)
        )
        entries = tuple(
            (self._text(key) if isinstance(key, Text) else key, self.node(value))
            for key, value in node.entries
        )
        most = node.max_entries
        if entries:
            wanted = max(node.min_properties - _needed(node), self._items)
            bound = _most_entries(node)
            most = most if bound is not None and bound <= wanted else wanted
        pairs = zip(entries, node.entries, strict=True)
        same = _same(members, node.members) and all(_same(new, old) for new, old in pairs)
        if same and most == node.max_entries:
            return node
        return Object(members, entries, node.min_properties, node.max_properties, most)


def _same(new: Sequence[object], old: Sequence[object]) -> bool:
    return all(one is other for one, other in zip(new, old, strict=True))


@lru_cache(maxsize=1024)
def _fewest(node: Text) -> int | None:
    """The characters of a shortest string of a pattern, where that can be told."""
    try:
        text = shortest(text_content(node))
    except TooComplex:
        return None
    return None if text is None else _characters(text)


def _characters(content: bytes) -> int:
    return len(json.loads(b'"%b"' % content))


def _needed(node: Object) -> int:
    return sum(member.required for member in node.members)


def _most_items(node: Array) -> int | None:
    bounds = [node.max_items]
    if node.unique and isinstance(node.item, Literals):
        bounds.append(len(node.item.texts))
    return min((bound for bound in bounds if bound is not None), default=None)


def _most_entries(node: Object) -> int | None:
    room = None if node.max_properties is None else node.max_properties - _needed(node)
    return min((bound for bound in (node.max_entries, room) if bound is not None), default=None)


_Pair: TypeAlias = tuple[Node, Node]  # a node, and the same one as it was fitted


class _Number(str):
    """A number as it is written."""


class _Object(tuple[tuple[str, "_Value"], ...]):
    """An object as its pairs, since a key may be repeated."""


_Value: TypeAlias = "str | bool | list[_Value] | _Object | None"


@dataclass(frozen=True, slots=True)
class _Place:
    """A value of an answer.

    Attributes:
        path: where it stands.
        value: the value.
        nodes: those that may have written it.
        key_is_cut: whether its key is at a fitted limit.
    """

    path: str
    value: _Value
    nodes: list[_Pair]
    key_is_cut: bool = False


def cut_short(full: Grammar, fitted: Grammar, text: str) -> tuple[str, ...]:
    """Return the paths of an answer that a fitted limit may have cut short.

    They are those of the strings, arrays and objects that have as much as the fitted grammar lets
    them, and might have had more in the full one. Of a key that is cut short it is its value's.

    Args:
        full: the grammar before it was fitted.
        fitted: the grammar that the answer had to match.
        text: the answer.

    Returns:
        Paths such as `$.items[1].name`, in the order of the text; none where it is not JSON.
    """
    try:
        root: _Value = json.loads(
            text, object_pairs_hook=_Object, parse_int=_Number, parse_float=_Number
        )
    except (ValueError, RecursionError):
        return ()
    found: list[str] = []
    waiting = [_Place(ROOT, root, [(full.root, fitted.root)])]
    while waiting:
        place = waiting.pop()
        ways = _ways(place.nodes, place.value)
        if place.key_is_cut or any(_at_limit(place.value, *way) for way in ways):
            found.append(place.path)
        waiting += reversed(list(_inside(place, ways)))
    return tuple(found)


def _inside(place: _Place, ways: list[_Pair]) -> Iterator[_Place]:
    if isinstance(place.value, list):
        for index, inner in enumerate(place.value):
            nodes = [pair for way in ways for pair in _items(*way, index)]
            yield _Place(child(place.path, index), inner, nodes)
    elif isinstance(place.value, _Object):
        for name, inner in dict(place.value).items():
            found = [pair for way in ways for pair in _members(*way, name)]
            keys = _ways([key for key, _ in found if key is not None], name)
            cut = any(_at_limit(name, *key) for key in keys)
            yield _Place(child(place.path, name), inner, [pair for _, pair in found], cut)


def _items(full: Node, fit: Node, index: int) -> Iterator[_Pair]:
    if isinstance(full, Array) and isinstance(fit, Array):
        if index < len(full.prefix):
            yield full.prefix[index], fit.prefix[index]
        elif full.item is not None and fit.item is not None:
            yield full.item, fit.item


def _members(full: Node, fit: Node, name: str) -> Iterator[tuple[_Pair | None, _Pair]]:
    """The nodes of a key, unless it is a member's, with those of its value."""
    if not (isinstance(full, Object) and isinstance(fit, Object)):
        return
    for one, other in zip(full.members, fit.members, strict=True):
        if one.name == name:
            yield None, (one.node, other.node)
            return
    for (key, node), (fit_key, fit_node) in zip(full.entries, fit.entries, strict=True):
        yield (key, fit_key), (node, fit_node)


def _ways(pairs: list[_Pair], value: _Value) -> list[_Pair]:
    """The nodes that may have written a value, of those that were changed to fit."""
    waiting, ways = [*pairs], list[_Pair]()
    while waiting:
        full, fit = waiting.pop()
        if isinstance(full, OneOf) and isinstance(fit, OneOf):
            waiting += zip(full.branches, fit.branches, strict=True)
        elif _is_of(full, value):
            ways.append((full, fit))
    if len(ways) > 1:
        text = _written(value).encode("utf-8", "surrogatepass")
        ways = [way for way in ways if nullable(derive_all(_expression(way[1]), text))] or ways
    return [(full, fit) for full, fit in ways if full is not fit]


def _is_of(node: Node, value: _Value) -> bool:
    match node:
        case Text():
            return isinstance(value, str) and not isinstance(value, _Number)
        case Array():
            return isinstance(value, list)
        case Object():
            return isinstance(value, _Object)
        case _:
            return False


def _written(value: _Value) -> str:
    """A value as it stands in an answer."""
    match value:
        case _Number():
            return value
        case list():
            return f"[{','.join(map(_written, value))}]"
        case _Object():
            pairs = (f"{quoted(key)}:{_written(inner)}" for key, inner in value)
            return f"{{{','.join(pairs)}}}"
        case _:
            return json.dumps(value, ensure_ascii=False)


def _at_limit(value: _Value, full: Node, fit: Node) -> bool:
    match value, full, fit:
        case str(), Text(), Text():
            most = fit.max_length
            return _is_at(len(value), most, full.max_length) or _held_back(value, full, most)
        case list(), Array(), Array():
            return _is_at(len(value), fit.max_items, _most_items(full))
        case _Object(), Object(), Object():
            named = {member.name for member in full.members}
            entries = sum(key not in named for key, _ in value)
            is_open = full.max_properties is None or len(value) < full.max_properties
            return is_open and _is_at(entries, fit.max_entries, full.max_entries)
        case _:
            return False


def _is_at(count: int, limit: int | None, before: int | None) -> bool:
    return count == limit and (before is None or before > count)


def _held_back(value: str, full: Text, most: int | None) -> bool:
    """Whether the pattern lets more follow, but so much that it would be over a limit."""
    if full.pattern is None or most is None or most == full.max_length:
        return False
    content = quoted(value)[1:-1].encode("utf-8", "surrogatepass")
    try:
        ways = steps(derive_all(text_content(full), content))
        rests = [(more, shortest(after)) for more, after in ways]
    except TooComplex:
        return False
    return any(
        rest is not None and len(value) + _characters(more + rest) > most for more, rest in rests
    )
