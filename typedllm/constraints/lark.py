"""Prints a tree of rules in llguidance's Lark syntax.

Every lexeme is a token of JSON: a punctuation mark, a string with its quotes, a number or a word.
llguidance's lexer takes the longest match, so lexemes that begin alike must end alike.

Source of the syntax: https://github.com/guidance-ai/llguidance/blob/main/docs/syntax.md
"""

from __future__ import annotations

import json
from functools import lru_cache

from typedllm.constraints.printing import Printer, repetition
from typedllm.grammar.characters import Ranges
from typedllm.grammar.regular import (
    ALL,
    Alt,
    Both,
    Chars,
    Concat,
    Expr,
    Not,
    Repeat,
    Words,
    chain,
)
from typedllm.grammar.tree import Array, Node

UNIQUE_LIMIT = 63  # values that can be kept apart: llguidance counts at most 63 bits


def print_lark(root: Node) -> str:
    """The grammar of a tree.

    Args:
        root: the tree; shared nodes become shared rules.

    Returns:
        Lark text with the rule `start`.
    """
    printer = _Lark()
    start = printer.rule_of(root)
    return "\n".join([f"start: {start}", *printer.lines, ""])


class _Lark(Printer):
    """Gives each distinct lexeme one terminal."""

    assigns = ": "

    def leaf(self, expr: Expr) -> str:
        return self.named("T", terminal(expr))

    def literal(self, text: str) -> str:
        return _literal(text)

    def unique(self, node: Array, texts: tuple[str, ...]) -> str:
        # A bit of the parameter for each value that has been used.
        bound = len(texts) if node.max_items is None else min(node.max_items, len(texts))
        stem = f"u{len(self.lines)}"
        names = [_literal(text) for text in texts]
        first = [f"{name} {stem}m::set_bit({bit})" for bit, name in enumerate(names)]
        again = [f"{text} %if bit_clear({bit})" for bit, text in enumerate(first)]
        if node.min_items == 0:
            first.append('""')
        self.lines += [
            f"{stem}f::_: " + "\n | ".join(first),
            f"{stem}i::_: " + "\n | ".join(again),
            f'{stem}m::_: "," {stem}i::_ %if bit_count_lt(_, {bound})'
            f'\n | "" %if bit_count_ge(_, {node.min_items})',
        ]
        return self.rule('"[" "]"' if bound == 0 else f'"[" {stem}f::0x0 "]"')


def _literal(text: str) -> str:
    return json.dumps(text)  # in ASCII: llguidance refuses a few characters, such as U+007F


def terminal(expr: Expr) -> str:
    """An expression as the body of a Lark terminal."""
    if not _is_composed(expr):
        return _factor(expr)
    return " ".join(map(_factor, chain(expr)))


@lru_cache(maxsize=4096)
def _is_composed(expr: Expr) -> bool:
    """Whether it holds what no regular expression can say."""
    match expr:
        case Both() | Not():
            return expr is not ALL
        case Concat():
            return any(map(_is_composed, chain(expr)))
        case Alt(branches):
            return any(map(_is_composed, branches))
        case Repeat(inner, _, _):
            return _is_composed(inner)
        case _:
            return False


def _factor(expr: Expr) -> str:
    match expr:
        case Both(left, right):
            return f"({terminal(left)} & {terminal(right)})"
        case Not(inner) if expr is not ALL:
            return f"~({terminal(inner)})"
        case Alt(branches) if _is_composed(expr):
            return f"({' | '.join(map(terminal, branches))})"
        case Repeat(inner, least, most) if _is_composed(expr):
            return f"({terminal(inner)}){repetition(least, most)}"
        case Words(found, _, _, _):
            return "(" + " | ".join(_literal(word.decode()) for word in found) + ")"
        case _:
            return f"/{regex(expr)}/"


@lru_cache(maxsize=4096)
def regex(expr: Expr) -> str:
    """An expression in the syntax of Rust's regex crate, which llguidance reads."""
    match expr:
        case Words(found, _, _, _):
            return _either([_escaped(word.decode()) for word in found])
        case Chars(ranges, _):
            return _class(ranges)
        case Concat():
            return "".join(map(regex, chain(expr)))
        case Alt(branches):
            return _either([regex(branch) for branch in branches])
        case Not() if expr is ALL:
            return "(?s:.*)"
        case Repeat(inner, least, most):
            often = "?" if (least, most) == (0, 1) else repetition(least, most)
            return f"(?:{regex(inner)}){often}"
        case _:  # printed by `terminal` and by rules
            raise TypeError(f"{type(expr).__name__} has no regular expression of its own")


def _either(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else f"(?:{'|'.join(parts)})"


def _escaped(text: str) -> str:
    return "".join(char if char.isalnum() else _point(ord(char)) for char in text)


def _class(ranges: Ranges) -> str:
    if len(ranges) == 1 and ranges[0][0] == ranges[0][1]:
        return _point(ranges[0][0])
    parts = [
        _point(low) if low == high else f"{_point(low)}-{_point(high)}" for low, high in ranges
    ]
    return f"[{''.join(parts)}]"


def _point(point: int) -> str:
    char = chr(point)
    if char.isascii() and char.isprintable() and char not in "/<>":
        return char if char.isalnum() or char == " " else f"\\{char}"
    return f"\\x{{{point:X}}}"
