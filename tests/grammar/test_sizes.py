"""The bound on the bytes of a text, against texts."""

from __future__ import annotations

import random

import hypothesis.strategies as st
import pytest
from hypothesis import given

from tests.grammar.expressions import PAIRS, Pair, random_walk
from typedllm.grammar.closing import shortest
from typedllm.grammar.escapes import CHARACTER, escaped
from typedllm.grammar.pattern import parse_pattern
from typedllm.grammar.regular import (
    ALL,
    ANY,
    EMPTY,
    NOTHING,
    Expr,
    both,
    concat,
    derive_all,
    distinct,
    literal,
    optional,
    ordered,
    repeat,
    words,
)
from typedllm.grammar.sizes import longest


@given(PAIRS, st.randoms(use_true_random=False))
def test_no_text_is_longer(pair: Pair, rng: random.Random) -> None:
    most = longest(pair.expr)
    if most is None or shortest(pair.expr) is None:
        return
    text = random_walk(pair.expr, rng, 40).encode()
    assert len(text) <= most
    for size in range(len(text)):
        left = longest(derive_all(pair.expr, text[:size]))
        assert left is not None and len(text) - size <= left


PAIRS_IN_ORDER = ordered(['"a":', '"ab":'], [literal("1"), words(["x", "xyz"])])


@pytest.mark.parametrize(
    ("expr", "most"),
    [
        (NOTHING, 0),
        (EMPTY, 0),
        (ALL, None),
        (ANY, 4),
        (words(["a", "é🙂"]), 6),
        (repeat(literal("ab"), 2, 5), 10),
        (repeat(literal("ab"), 2), None),
        (concat(literal("["), repeat(ANY), literal("]")), None),
        (optional(concat(ANY, ANY)), 8),
        (distinct(["one", "two", "three"], ",", 0, 2), 9),
        (PAIRS_IN_ORDER, len('"a":1,"ab":xyz')),
        (derive_all(PAIRS_IN_ORDER, b'"a'), len('":1,"ab":xyz')),
        (ordered(["a", "b"], [ANY, repeat(ANY)]), None),
        (repeat(CHARACTER, 0, 7), 42),
        (both(escaped(parse_pattern("^[a-z]+$")), repeat(CHARACTER, 0, 7)), 7),
        (both(escaped(parse_pattern("^(é|ab)+$")), repeat(CHARACTER, 0, 7)), 14),
        (both(escaped(parse_pattern('^[a-z"]+$')), repeat(CHARACTER, 0, 7)), 42),
        (both(escaped(parse_pattern("^[^a]+$")), repeat(CHARACTER, 3, None)), None),
        (both(escaped(parse_pattern("^(?!ab)[a-z]+$")), repeat(CHARACTER, 0, 7)), 7),
    ],
)
def test_the_bound_is_tight(expr: Expr, most: int | None) -> None:
    assert longest(expr) == most


def test_parts_may_nest_deep() -> None:
    expr = literal("x")
    for _ in range(3000):
        expr = concat(literal("["), optional(expr), literal("]"))
    assert longest(expr) == 6001
