"""Prints a tree of rules in llguidance's Lark syntax.

Every lexeme is a token of JSON: a punctuation mark, a string with its quotes, a number or a word.
llguidance's lexer takes the longest match, so lexemes that begin alike must end alike.

Source of the syntax: https://github.com/guidance-ai/llguidance/blob/main/docs/syntax.md
"""

from __future__ import annotations

import json
from functools import lru_cache

from typedllm.grammar.characters import Ranges
from typedllm.grammar.escapes import quoted
from typedllm.grammar.expression import counted, text_content
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
    concat,
    literal,
    words,
)
from typedllm.grammar.tree import Array, Literals, Member, Node, Object, OneOf, Scalar, Text

UNIQUE_LIMIT = 63  # values that can be kept apart: llguidance counts at most 63 bits


def print_lark(root: Node) -> str:
    """The grammar of a tree.

    Args:
        root: the tree; shared nodes become shared rules.

    Returns:
        Lark text with the rule `start`.
    """
    printer = _Printer()
    start = printer.rule_of(root)
    return "\n".join([f"start: {start}", *printer.lines, ""])


class _Printer:
    """Gives each distinct node one rule and each distinct lexeme one terminal."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._by_node: dict[int, str] = {}
        self._by_body: dict[str, str] = {}

    def rule_of(self, node: Node) -> str:
        """The name of the rule or terminal that matches the node."""
        name = self._by_node.get(id(node))
        if name is None:
            name = self._by_node[id(node)] = self._print(node)
        return name

    def _print(self, node: Node) -> str:
        match node:
            case Literals(texts):
                return self._terminal(words(texts))
            case Text():
                return self._terminal(concat(literal('"'), text_content(node), literal('"')))
            case Scalar(expr):
                return self._terminal(expr)
            case Array():
                return self._array(node)
            case Object():
                return self._object(node)
            case OneOf(branches):
                return self._rule(" | ".join(self.rule_of(branch) for branch in branches))

    def _terminal(self, expr: Expr) -> str:
        return self._named("T", terminal(expr))

    def _rule(self, body: str) -> str:
        return self._named("r", body)

    def _named(self, letter: str, body: str) -> str:
        name = self._by_body.get(letter + body)
        if name is None:
            name = self._by_body[letter + body] = f"{letter}{len(self.lines)}"
            self.lines.append(f"{name}: {body}")
        return name

    def _array(self, node: Array) -> str:
        if node.unique and isinstance(node.item, Literals):
            return self._unique(node, node.item.texts)
        count = len(node.prefix)
        most = None if node.max_items is None else node.max_items - count
        body = ""
        if node.item is not None and most != 0:
            least = max(node.min_items - count, 0)
            body = self._listed(self.rule_of(node.item), least, most, first=not count)
        for index in reversed(range(count)):
            comma = '"," ' if index else ""
            body = f"{comma}{self.rule_of(node.prefix[index])} {body}".strip()
            if index >= node.min_items:
                body = f"({body})?"
        return self._rule(f'"[" {body} "]"')

    def _listed(self, item: str, least: int, most: int | None, *, first: bool) -> str:
        if not first:
            return f'("," {item}){_count(least, most)}'
        more = _count(max(least - 1, 0), None if most is None else most - 1)
        rest = "" if more == "{0}" else f' ("," {item}){more}'
        return f"({item}{rest}){'' if least else '?'}"

    def _unique(self, node: Array, texts: tuple[str, ...]) -> str:
        # A bit of the parameter for each value that has been used.
        bound = len(texts) if node.max_items is None else min(node.max_items, len(texts))
        stem = f"u{len(self.lines)}"
        names = [_string(text) for text in texts]
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
        return self._rule('"[" "]"' if bound == 0 else f'"[" {stem}f::0x0 "]"')

    def _object(self, node: Object) -> str:
        entry = " | ".join(
            f'{self.rule_of(key)} ":" {self.rule_of(value)}' for key, value in node.entries
        )
        name = self._rule(entry) if entry and node.max_entries != 0 else None
        if node.entry_bounds is None:
            return self._rule(f'"{{" {self._counted(node, name)} "}}"')
        least, most = node.entry_bounds
        after = self._further(name, least, most, first=False) or ""
        anchor = next((i for i, member in enumerate(node.members) if member.required), None)
        if anchor is None:
            pairs = [self._pair(member) for member in node.members]
            some = f"{self._some(pairs)} {after}".rstrip() if pairs else ""
            alone = self._further(name, node.min_properties, most, first=True)
            return self._rule(f'"{{" ({" | ".join(filter(None, [some, alone]))}) "}}"')
        parts = [f'({self._pair(member)} ",")?' for member in node.members[:anchor]]
        parts.append(self._pair(node.members[anchor]))
        for member in node.members[anchor + 1 :]:
            pair = f'"," {self._pair(member)}'
            parts.append(pair if member.required else f"({pair})?")
        return self._rule(f'"{{" {" ".join(filter(None, [*parts, after]))} "}}"')

    def _further(
        self, entry: str | None, least: int, most: int | None, *, first: bool
    ) -> str | None:
        """So many entries; None when no count fits."""
        if most is not None and most < least:
            return None
        if entry is None or most == 0:
            return '""' if first else ""
        return self._listed(entry, least, most, first=first)

    def _counted(self, node: Object, entry: str | None) -> str | None:
        def end(written: int, least: int, most: int | None) -> str | None:
            further = self._further(entry, least, most, first=not written)
            return None if further is None else self._rule(further or '""')

        def step(index: int, written: int, taken: str | None, passed: str | None) -> str | None:
            comma = '"," ' if written else ""
            here = f"{comma}{self._pair(node.members[index])} {taken}" if taken else ""
            ways = " | ".join(filter(None, [here, passed]))
            return self._rule(ways) if ways else None

        return counted(node, end, step)

    def _some(self, pairs: list[str]) -> str:
        # One or more, in their order; by halves, since llguidance recurses into nested rules.
        if len(pairs) == 1:
            return pairs[0]
        half = len(pairs) // 2
        first, second = self._some(pairs[:half]), self._some(pairs[half:])
        return self._rule(f"{first} {self._more(pairs[half:])} | {second}")

    def _more(self, pairs: list[str]) -> str:
        if len(pairs) == 1:
            return f'("," {pairs[0]})?'
        half = len(pairs) // 2
        return self._rule(f"{self._more(pairs[:half])} {self._more(pairs[half:])}")

    def _pair(self, member: Member) -> str:
        return f'{_string(quoted(member.name))} ":" {self.rule_of(member.node)}'


def _count(least: int, most: int | None) -> str:
    if most is None:
        return {0: "*", 1: "+"}.get(least, f"{{{least},}}")
    return f"{{{least}}}" if least == most else f"{{{least},{most}}}"


def _string(text: str) -> str:
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
            return f"({terminal(inner)}){_count(least, most)}"
        case Words(found, _, _, _):
            return "(" + " | ".join(_string(word.decode()) for word in found) + ")"
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
            count = "?" if (least, most) == (0, 1) else _count(least, most)
            return f"(?:{regex(inner)}){count}"
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
