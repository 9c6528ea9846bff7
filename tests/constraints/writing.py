"""Writes a given value as the text that a tree of rules would generate for it."""

from __future__ import annotations

import json
from decimal import Decimal

from typedllm.grammar.escapes import quoted
from typedllm.grammar.expression import text_content
from typedllm.grammar.regular import derive_all, matches, nullable
from typedllm.grammar.tree import Array, Literals, Node, Object, OneOf, Scalar, Text


def written(node: Node, value: object) -> str | None:
    """A JSON value as compact JSON with its keys in the order of the tree.

    Args:
        node: the tree.
        value: any JSON value; a number is written without an exponent.

    Returns:
        None when the tree has no such value. (Counts are left to the grammar itself.)
    """
    match node:
        case Literals(texts):
            known = _ranked(texts)
            return known.get(_key(value))
        case Text():
            return _text(node, value)
        case Scalar(expr):
            text = _number(value)
            return text if text is not None and matches(expr, text) else None
        case Array():
            return _array(node, value)
        case Object():
            return _object(node, value)
        case OneOf(branches):
            found = (written(branch, value) for branch in branches)
            return next((text for text in found if text is not None), None)


def _ranked(texts: tuple[str, ...]) -> dict[str, str]:
    return {_key(json.loads(text)): text for text in texts}


def _key(value: object) -> str:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return json.dumps(value, sort_keys=True)


def _number(value: object) -> str | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return f"{Decimal(repr(value)):f}"


def _text(node: Text, value: object) -> str | None:
    if not isinstance(value, str):
        return None
    text = quoted(value)
    try:
        rest = derive_all(text_content(node), text[1:-1].encode())
    except UnicodeEncodeError:
        return None
    return text if nullable(rest) else None


def _array(node: Array, value: object) -> str | None:
    if not isinstance(value, list):
        return None
    parts: list[str] = []
    for index, item in enumerate(value):
        inner = node.prefix[index] if index < len(node.prefix) else node.item
        text = None if inner is None else written(inner, item)
        if text is None:
            return None
        parts.append(text)
    return f"[{','.join(parts)}]"


def _object(node: Object, value: object) -> str | None:
    if not isinstance(value, dict):
        return None
    parts: list[str] = []
    rest = dict(value)
    for member in node.members:
        if member.name not in rest:
            if member.required:
                return None
            continue
        text = written(member.node, rest.pop(member.name))
        if text is None:
            return None
        parts.append(f"{quoted(member.name)}:{text}")
    for name, inner in rest.items():
        keyed = ((written(key, name), written(found, inner)) for key, found in node.entries)
        pair = next((pair for pair in keyed if None not in pair), None)
        if pair is None:
            return None
        parts.append(f"{pair[0]}:{pair[1]}")
    return f"{{{','.join(parts)}}}"
