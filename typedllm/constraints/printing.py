"""Prints a tree of rules in the syntaxes of engines: all that these have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from typedllm.grammar.escapes import quoted
from typedllm.grammar.expression import counted, text_content
from typedllm.grammar.regular import Expr, concat, literal, words
from typedllm.grammar.tree import Array, Literals, Member, Node, Object, OneOf, Scalar, Text


class Printer(ABC):
    """Gives each distinct node one rule; what a syntax has of its own is left to its printer.

    Attributes:
        lines: the rules, those that others refer to first.
    """

    assigns: ClassVar[str]  # between the name of a rule and its body

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
                return self.leaf(words(texts))
            case Text():
                return self.leaf(concat(literal('"'), text_content(node), literal('"')))
            case Scalar(expr):
                return self.leaf(expr)
            case Array():
                return self._array(node)
            case Object():
                return self._object(node)
            case OneOf(branches):
                return self.rule(" | ".join(self.rule_of(branch) for branch in branches))

    @abstractmethod
    def leaf(self, expr: Expr) -> str:
        """The name of the rule or terminal that matches an expression."""

    @abstractmethod
    def unique(self, node: Array, texts: tuple[str, ...]) -> str:
        """The name of the rule of an array of some of the texts, none of them twice."""

    @abstractmethod
    def literal(self, text: str) -> str:
        """A text in the syntax of the grammar."""

    def rule(self, body: str) -> str:
        """The name of the rule of a body."""
        return self.named("r", body)

    def named(self, letter: str, body: str) -> str:
        """The name, with a first letter, of the rule of a body; a new one where there is none."""
        name = self._by_body.get(letter + body)
        if name is None:
            name = self._by_body[letter + body] = f"{letter}{len(self.lines)}"
            self.lines.append(f"{name}{self.assigns}{body}")
        return name

    def _array(self, node: Array) -> str:
        if node.unique and isinstance(node.item, Literals):
            return self.unique(node, node.item.texts)
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
        return self.rule(f'"[" {body} "]"')

    def _listed(self, item: str, least: int, most: int | None, *, first: bool) -> str:
        if not first:
            return f'("," {item}){repetition(least, most)}'
        more = repetition(max(least - 1, 0), None if most is None else most - 1)
        rest = "" if more == "{0}" else f' ("," {item}){more}'
        return f"({item}{rest}){'' if least else '?'}"

    def _object(self, node: Object) -> str:
        entry = " | ".join(
            f'{self.rule_of(key)} ":" {self.rule_of(value)}' for key, value in node.entries
        )
        name = self.rule(entry) if entry and node.max_entries != 0 else None
        if node.entry_bounds is None:
            return self.rule(f'"{{" {self._counted(node, name)} "}}"')
        least, most = node.entry_bounds
        after = self._further(name, least, most, first=False) or ""
        anchor = next((i for i, member in enumerate(node.members) if member.required), None)
        if anchor is None:
            pairs = [self._pair(member) for member in node.members]
            some = f"{self._some(pairs)} {after}".rstrip() if pairs else ""
            alone = self._further(name, node.min_properties, most, first=True)
            return self.rule(f'"{{" ({" | ".join(filter(None, [some, alone]))}) "}}"')
        parts = [f'({self._pair(member)} ",")?' for member in node.members[:anchor]]
        parts.append(self._pair(node.members[anchor]))
        for member in node.members[anchor + 1 :]:
            pair = f'"," {self._pair(member)}'
            parts.append(pair if member.required else f"({pair})?")
        return self.rule(f'"{{" {" ".join(filter(None, [*parts, after]))} "}}"')

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
            return None if further is None else self.rule(further or '""')

        def step(index: int, written: int, taken: str | None, passed: str | None) -> str | None:
            comma = '"," ' if written else ""
            here = f"{comma}{self._pair(node.members[index])} {taken}" if taken else ""
            ways = " | ".join(filter(None, [here, passed]))
            return self.rule(ways) if ways else None

        return counted(node, end, step)

    def _some(self, pairs: list[str]) -> str:
        # One or more, in their order; by halves, since llguidance recurses into nested rules.
        if len(pairs) == 1:
            return pairs[0]
        half = len(pairs) // 2
        first, second = self._some(pairs[:half]), self._some(pairs[half:])
        return self.rule(f"{first} {self._more(pairs[half:])} | {second}")

    def _more(self, pairs: list[str]) -> str:
        if len(pairs) == 1:
            return f'("," {pairs[0]})?'
        half = len(pairs) // 2
        return self.rule(f"{self._more(pairs[:half])} {self._more(pairs[half:])}")

    def _pair(self, member: Member) -> str:
        return f'{self.literal(quoted(member.name))} ":" {self.rule_of(member.node)}'


def repetition(least: int, most: int | None) -> str:
    """How often something is repeated."""
    if most is None:
        return {0: "*", 1: "+"}.get(least, f"{{{least},}}")
    return f"{{{least}}}" if least == most else f"{{{least},{most}}}"
