"""Draws small expressions together with the same in Python's syntax."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass

import hypothesis.strategies as st

from typedllm.grammar.closing import shortest, steps
from typedllm.grammar.regular import (
    ANY,
    NOTHING,
    Expr,
    alt,
    both,
    chars,
    concat,
    difference,
    literal,
    nullable,
    optional,
    repeat,
    words,
)


@dataclass(frozen=True, slots=True)
class Pair:
    """An expression, and what Python calls it."""

    expr: Expr
    python: str

    def holds(self, text: str) -> bool:
        """Python's verdict."""
        return re.fullmatch(self.python, text, re.DOTALL) is not None


ALPHABET = 'ab"é🙂'
TEXTS = st.text(ALPHABET, max_size=8)

_leaves = st.one_of(
    st.sampled_from(ALPHABET).map(lambda c: Pair(literal(c), re.escape(c))),
    st.lists(st.text(ALPHABET, max_size=3), min_size=1, max_size=4).map(
        lambda found: Pair(words(found), f"(?:{'|'.join(map(re.escape, found))})")
    ),
    st.sampled_from(
        [
            Pair(ANY, "."),
            Pair(chars([(ord("a"), ord("b"))]), "[ab]"),
            Pair(chars([(0x80, 0x10FFFF)]), "[\x80-\U0010ffff]"),
            Pair(chars([(ord("b"), ord("b")), (ord("🙂"), 0x10FFFF)]), "[b🙂-\U0010ffff]"),
            Pair(literal(""), ""),
            Pair(NOTHING, "(?!)"),
        ]
    ),
)
_bounds = st.sampled_from([(0, None), (1, None), (0, 1), (0, 3), (2, 2), (1, 3), (2, None)])


def _repeated(pair: Pair, bounds: tuple[int, int | None]) -> Pair:
    least, most = bounds
    count = f"{{{least},{'' if most is None else most}}}"
    return Pair(repeat(pair.expr, least, most), f"(?:{pair.python}){count}")


def _wider(inner: st.SearchStrategy[Pair]) -> st.SearchStrategy[Pair]:
    several = st.lists(inner, min_size=2, max_size=3)
    return st.one_of(
        several.map(
            lambda found: Pair(
                concat(*(pair.expr for pair in found)), "".join(pair.python for pair in found)
            )
        ),
        several.map(
            lambda found: Pair(
                alt(*(pair.expr for pair in found)),
                f"(?:{'|'.join(pair.python for pair in found)})",
            )
        ),
        st.builds(_repeated, inner, _bounds),
        inner.map(lambda pair: Pair(optional(pair.expr), f"(?:{pair.python})?")),
        st.builds(
            lambda left, right: Pair(
                both(left.expr, right.expr), f"(?=(?:{left.python})\\Z)(?:{right.python})\\Z"
            ),
            inner,
            inner,
        ),
        st.builds(
            lambda left, right: Pair(
                difference(left.expr, right.expr),
                f"(?!(?:{right.python})\\Z)(?:{left.python})\\Z",
            ),
            inner,
            inner,
        ),
    )


def _without_ends(inner: st.SearchStrategy[Pair]) -> st.SearchStrategy[Pair]:
    # Look-ahead to the end of the text says what `both` and `difference` do only at the outermost
    # level.
    return _wider(inner).filter(lambda pair: "\\Z" not in pair.python)


PLAIN = st.recursive(_leaves, _without_ends, max_leaves=6)
PAIRS = st.one_of(PLAIN, _wider(PLAIN))


def random_walk(expr: Expr, rng: random.Random, length: int) -> str:
    """A text by random steps of a character, closed after some of them."""
    taken = b""
    for _ in range(length):
        ways = [(more, after) for more, after in steps(expr) if shortest(after) is not None]
        if not ways or (nullable(expr) and rng.random() < 0.2):
            break
        more, expr = rng.choice(ways)
        taken += more
    return (taken + (shortest(expr) or b"")).decode()
