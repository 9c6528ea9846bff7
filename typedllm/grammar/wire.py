"""Expressions as JSON text, to hand them to another process.

The text is a list of nodes, each after the ones it is made of: `[kind, field, ...]`, where a number
in the place of an expression is the index of an earlier node.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any, Final

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
    interned,
)

__all__ = ["dumps", "loads"]

_KINDS: Final = (Nothing, Words, Chars, Concat, Alt, Repeat, Both, Not, Distinct, Ordered)
_BY_NAME: Final = {kind.__name__: kind for kind in _KINDS}


def dumps(expr: Expr) -> str:
    """Write an expression.

    Args:
        expr: any expression; a part that occurs twice is written once.
    """
    numbers: dict[Expr, int] = {}
    nodes: list[list[Any]] = []
    waiting = [expr]
    while waiting:
        part = waiting[-1]
        unwritten = [inner for inner in _inner(part) if inner not in numbers]
        waiting += unwritten
        if not unwritten:
            waiting.pop()
            if part not in numbers:
                numbers[part] = len(nodes)
                nodes.append(_written(part, numbers))
    return json.dumps(nodes, ensure_ascii=False, separators=(",", ":"))


def loads(text: str) -> Expr:
    """Read an expression that `dumps` wrote: the same object, in the process that wrote it.

    Args:
        text: from `dumps`.
    """
    made: list[Expr] = []
    for name, *fields in json.loads(text):
        made.append(_read(name, fields, made))
    return made[-1]


def _inner(expr: Expr) -> Sequence[Expr]:
    match expr:
        case Concat(head, tail):
            return (head, tail)
        case Alt(branches):
            return branches
        case Repeat(inner, _, _) | Not(inner):
            return (inner,)
        case Both(left, right):
            return (left, right)
        case Ordered(_, values, _, _):
            return values
        case _:
            return ()


def _written(expr: Expr, numbers: dict[Expr, int]) -> list[Any]:
    name = type(expr).__name__
    match expr:
        case Words(words, start, stop, depth):
            return [name, [word.decode() for word in words], start, stop, depth]
        case Chars(ranges, seen):
            return [name, ranges, list(seen)]
        case Repeat(inner, least, most):
            return [name, numbers[inner], least, most]
        case Alt(branches):
            return [name, [numbers[branch] for branch in branches]]
        case Distinct(words, between, least, most):
            return [name, [word.decode() for word in words], between.decode(), least, most]
        case Ordered(keys, values, picks, depth):
            texts = [key.decode() for key in keys]
            return [name, texts, [numbers[value] for value in values], list(picks), depth]
        case _:
            return [name, *(numbers[inner] for inner in _inner(expr))]


def _read(name: str, fields: list[Any], made: Sequence[Expr]) -> Expr:
    kind: Callable[..., Expr] = _BY_NAME[name]
    if kind is Nothing:
        return NOTHING
    if kind is Words or kind is Distinct:
        words: tuple[bytes, ...] = _encoded(fields[0])
        rest: list[Any] = [each.encode() if isinstance(each, str) else each for each in fields[1:]]
        return interned(kind, words, *rest)
    if kind is Chars:
        ranges: list[list[int]] = fields[0]
        return interned(kind, tuple((low, high) for low, high in ranges), bytes(fields[1]))
    if kind is Repeat:
        return interned(kind, made[int(fields[0])], fields[1], fields[2])
    if kind is Alt:
        return interned(kind, _parts(fields[0], made))
    if kind is Ordered:
        keys, values, picks, depth = fields
        # as the derivatives have them: a range before the first byte of a key
        chosen = tuple(picks) if depth else range(picks[0], picks[-1] + 1)
        return interned(kind, _encoded(keys), _parts(values, made), chosen, depth)
    return interned(kind, *_parts(fields, made))


def _encoded(texts: Sequence[str]) -> tuple[bytes, ...]:
    return tuple(text.encode() for text in texts)


def _parts(numbers: Sequence[int], made: Sequence[Expr]) -> tuple[Expr, ...]:
    return tuple(made[number] for number in numbers)
