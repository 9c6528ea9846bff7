"""A tree of rules as one regular expression over the bytes of its JSON text."""

from __future__ import annotations

from itertools import groupby

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
    further = listed(entry, node.min_entries, node.max_entries, first=False)
    keys = [f"{quoted(member.name)}:" for member in node.members]
    values = [_of(member.node, known) for member in node.members]
    anchor = next((i for i, member in enumerate(node.members) if member.required), None)
    if anchor is None:
        alone = listed(entry, node.min_entries, node.max_entries, first=True)
        return alt(concat(ordered(keys, values), further), alone)
    # The first required member tells where commas stand: after each before it, before each after.
    parts = [optional(concat(ordered(keys[:anchor], values[:anchor]), literal(",")))]
    parts += (literal(keys[anchor]), values[anchor])
    after = range(anchor + 1, len(keys))
    for required, group in groupby(after, lambda index: node.members[index].required):
        if required:
            for index in group:
                parts += (literal(f",{keys[index]}"), values[index])
        else:
            run = list(group)
            pairs = ordered([keys[i] for i in run], [values[i] for i in run])
            parts.append(optional(concat(literal(","), pairs)))
    return concat(*parts, further)
