"""A tree of rules as one regular expression over the bytes of its JSON text."""

from __future__ import annotations

from collections.abc import Callable
from itertools import groupby
from typing import TypeVar

from typedllm.grammar.escapes import CHARACTER, escaped, quoted
from typedllm.grammar.regular import (
    EMPTY,
    NOTHING,
    Expr,
    alt,
    both,
    concat,
    distinct,
    literal,
    optional,
    ordered,
    repeat,
    words,
)
from typedllm.grammar.tree import Array, Literals, Node, Object, OneOf, Scalar, Text

State = TypeVar("State")


def text_content(node: Text) -> Expr:
    """What stands between the quotes of a string."""
    if node.pattern is None:
        return repeat(CHARACTER, node.min_length, node.max_length)
    content = escaped(node.pattern)
    if node.min_length == 0 and node.max_length is None:
        return content
    return both(content, repeat(CHARACTER, node.min_length, node.max_length))


def expression(node: Node) -> Expr:
    """The regular expression of a tree; shared nodes are turned once."""
    return _of(node, {})


def _of(node: Node, known: dict[int, Expr]) -> Expr:
    found = known.get(id(node))
    if found is None:
        found = known[id(node)] = _build(node, known)
    return found


def _build(node: Node, known: dict[int, Expr]) -> Expr:
    match node:
        case Literals(texts):
            return words(texts)
        case Text():
            return concat(literal('"'), text_content(node), literal('"'))
        case Scalar(expr):
            return expr
        case Array():
            return concat(literal("["), _items(node, known), literal("]"))
        case Object():
            return concat(literal("{"), _members(node, known), literal("}"))
        case OneOf(branches):
            return alt(*(_of(branch, known) for branch in branches))


def _items(node: Array, known: dict[int, Expr]) -> Expr:
    if node.unique and isinstance(node.item, Literals):
        return distinct(node.item.texts, ",", node.min_items, node.max_items)
    count = len(node.prefix)
    item = NOTHING if node.item is None else _of(node.item, known)
    more = None if node.max_items is None else node.max_items - count
    out = listed(item, max(node.min_items - count, 0), more, first=not count)
    for index in reversed(range(count)):
        here = concat(literal("," if index else ""), _of(node.prefix[index], known), out)
        # Items of the prefix are needed only as far as the least number goes.
        out = here if index < node.min_items else optional(here)
    return out


def listed(item: Expr, least: int, most: int | None, *, first: bool) -> Expr:
    """Items with commas between them, and before the first unless nothing stands before it."""
    if most is not None and most < least:
        return NOTHING
    following = concat(literal(","), item)
    if not first:
        return repeat(following, least, most)
    if most == 0:
        return EMPTY
    rest = repeat(following, max(least - 1, 0), None if most is None else most - 1)
    some = concat(item, rest)
    return optional(some) if least == 0 else some


def _members(node: Object, known: dict[int, Expr]) -> Expr:
    entry = alt(
        *(concat(_of(key, known), literal(":"), _of(value, known)) for key, value in node.entries)
    )
    keys = [f"{quoted(member.name)}:" for member in node.members]
    values = [_of(member.node, known) for member in node.members]
    bounds = node.entry_bounds
    if bounds is None:
        return _counted(node, entry, keys, values)
    further = listed(entry, *bounds, first=False)
    anchor = next((i for i, member in enumerate(node.members) if member.required), None)
    if anchor is None:
        alone = listed(entry, node.min_properties, bounds[1], first=True)
        return alt(concat(ordered(keys, values), further), alone)
    # The first required member tells where commas stand: after each before it, before each after.
    parts = [optional(concat(ordered(keys[:anchor], values[:anchor]), literal(",")))]
    parts += (literal(keys[anchor]), values[anchor])
    return concat(*parts, *_following(node, keys, values, anchor + 1), further)


def _following(node: Object, keys: list[str], values: list[Expr], start: int) -> list[Expr]:
    """The members from `start` on, where some stand before them."""
    parts: list[Expr] = []
    after = range(start, len(keys))
    for required, group in groupby(after, lambda index: node.members[index].required):
        run = list(group)
        if required:
            for index in run:
                parts += (literal(f",{keys[index]}"), values[index])
        else:
            pairs = ordered([keys[i] for i in run], [values[i] for i in run])
            parts.append(optional(concat(literal(","), pairs)))
    return parts


def _counted(node: Object, entry: Expr, keys: list[str], values: list[Expr]) -> Expr:
    further = listed(entry, 0, node.max_entries if node.entries else 0, first=False)

    def end(written: int, least: int, most: int | None) -> Expr:
        return listed(entry, least, most, first=not written)

    def step(index: int, written: int, taken: Expr, passed: Expr | None) -> Expr:
        if node.max_properties is None and written >= max(node.min_properties, 1):
            return concat(*_following(node, keys, values, index), further)  # need not be counted
        comma = "," if written else ""
        here = concat(literal(comma + keys[index]), values[index], taken)
        return here if passed is None else alt(here, passed)

    return counted(node, end, step)


def counted(
    node: Object,
    end: Callable[[int, int, int | None], State],
    step: Callable[[int, int, State, State | None], State],
) -> State:
    """Fold an object whose properties are counted as they are written, from its end.

    Args:
        node: the object.
        end: makes the state after all members, of the number of properties written and the least
            and the most entries that may follow; where the most is below the least, none fits.
        step: makes the state before a member, of its index, the number of properties written, the
            state after it, and the state after leaving it out (None where it is required).

    Returns:
        The first state.
    """
    cap = _highest_count(node)
    row: list[State] = []
    for written in range(min(len(node.members), cap) + 1):
        most = node.max_entries if node.entries else 0
        if node.max_properties is not None:
            room = node.max_properties - written
            most = room if most is None else min(most, room)
        row.append(end(written, max(node.min_properties - written, 0), most))
    for index in reversed(range(len(node.members))):
        row = [
            step(
                index,
                written,
                row[min(written + 1, cap)],
                None if node.members[index].required else row[written],
            )
            for written in range(min(index, cap) + 1)
        ]
    return row[0]


def states(node: Object) -> int:
    """The number of states that `counted` makes."""
    cap = _highest_count(node)
    return sum(min(index, cap) + 1 for index in range(len(node.members) + 1))


def _highest_count(node: Object) -> int:
    # Above it, all counts are alike: enough, or too many.
    most = node.max_properties
    return max(node.min_properties, 1) if most is None else most + 1
