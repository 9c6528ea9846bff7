"""Prints a tree of rules in EBNF, as xgrammar reads it and llguidance converts it (GBNF).

No rule refers to itself or to a later one. So llguidance takes the whole grammar for one lexeme:
nothing depends on how lexemes are told apart.

Source of the syntax: https://github.com/ggml-org/llama.cpp/blob/master/grammars/README.md
"""

from __future__ import annotations

import re

from typedllm.constraints.linear import Linear, quoted_text, rule_of_words
from typedllm.constraints.printing import Printer
from typedllm.grammar.automaton import automaton
from typedllm.grammar.complexity import TooComplex
from typedllm.grammar.regular import Expr, Words, concat, distinct, literal
from typedllm.grammar.tree import Array, Node

_MOST_RULES = 20_000
_MOST_STATES = 12_000  # of a string, a number or an enumeration: seven for each character of text
_MOST_DEPTH = 1_500  # rules in rules; llguidance recurses into them, and dies of some 3,500
_PARTS = re.compile(r'"(?:\\.|[^"\\])*"|\[[^\]]*\]|(?P<open>\()|(?P<close>\))|(?P<rule>\w+)')


def print_ebnf(root: Node) -> str:
    """The grammar of a tree.

    Args:
        root: the tree; shared nodes become shared rules.

    Returns:
        EBNF text with the rule `root`, for the same texts as the tree.

    Raises:
        TooComplex: when it takes too many rules or too deep ones, or would be slow to mask with.
        ValueError: when nothing satisfies a part of the tree.
    """
    printer = _Ebnf()
    start = printer.rule_of(root)
    return "\n".join([f"root ::= {start}", *printer.lines, ""])


class _Ebnf(Printer):
    """Gives each state of a string, a number or an enumeration one rule."""

    assigns = " ::= "

    def __init__(self) -> None:
        super().__init__()
        self._by_expr: dict[Expr, str] = {}
        self._depths: dict[str, int] = {}

    def named(self, letter: str, body: str) -> str:
        name = super().named(letter, body)
        if name not in self._depths:
            self._depths[name] = self._depth(body)
            if len(self.lines) > _MOST_RULES:
                raise TooComplex(f"its EBNF has more than {_MOST_RULES:,} rules")
            if self._depths[name] > _MOST_DEPTH:
                raise TooComplex(f"its EBNF has more than {_MOST_DEPTH:,} rules inside each other")
        return name

    def _depth(self, body: str) -> int:
        deepest = groups = 0
        for part in _PARTS.finditer(body):
            groups += (part["open"] is not None) - (part["close"] is not None)
            deepest = max(deepest, groups + self._depths.get(part["rule"] or "", 0))
        return 1 + deepest

    def leaf(self, expr: Expr) -> str:
        name = self._by_expr.get(expr)
        if name is None:
            name = self._by_expr[expr] = self._printed(expr)
        return name

    def _printed(self, expr: Expr) -> str:
        if isinstance(expr, Words):
            return rule_of_words(sorted(word.decode() for word in expr.words), self.rule)
        states = automaton(expr, _MOST_STATES)
        if states is None:
            raise ValueError("no text satisfies this grammar")
        return Linear(states, self.rule).name

    def literal(self, text: str) -> str:
        return " ".join(quoted_text(text))

    def unique(self, node: Array, texts: tuple[str, ...]) -> str:
        items = distinct(texts, ",", node.min_items, node.max_items)
        return self.leaf(concat(literal("["), items, literal("]")))
