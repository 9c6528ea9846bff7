"""The way to close a text, and the bound on what closing takes."""

from __future__ import annotations

import random

import hypothesis.strategies as st
import pytest
from hypothesis import given

from tests.grammar.expressions import ALPHABET, PAIRS, Pair
from typedllm.grammar.closing import reserve, shortest, steps
from typedllm.grammar.complexity import TooComplex
from typedllm.grammar.escapes import CHARACTER, escaped
from typedllm.grammar.pattern import parse_pattern, parse_widely
from typedllm.grammar.regular import (
    ANY,
    NOTHING,
    Expr,
    alt,
    both,
    chars,
    concat,
    derive,
    difference,
    distinct,
    literal,
    matches,
    nullable,
    ordered,
    repeat,
    words,
)

_BYTES = frozenset(f"{ALPHABET}x\x80\u0800\U00010000".encode())


def shortest_by_search(expr: Expr) -> int | None:
    """Bytes of the shortest text, by breadth-first search."""
    states, known = [expr], {expr}
    for count in range(60):
        if any(nullable(state) for state in states):
            return count
        after = {derive(state, byte) for state in states for byte in _BYTES} - known
        known |= after
        states = list(after)
    return None


def walk_and_check(expr: Expr, rng: random.Random, length: int) -> None:
    """Every step of a walk is closed by its shortest text, within the reserve."""
    most, state, taken, more = reserve(expr), expr, b"", b""
    for _ in range(length):
        way_out = shortest(state)
        assert way_out is not None
        assert len(way_out) <= most, (taken, way_out, most)
        assert matches(expr, (taken + way_out).decode())
        if not more:
            ways = [text for text, after in steps(state) if shortest(after) is not None]
            if not ways:
                break
            more = rng.choice(ways)
        state, taken, more = derive(state, more[0]), taken + more[:1], more[1:]


@given(PAIRS)
def test_the_shortest_text_matches_and_none_is_shorter(pair: Pair) -> None:
    text = shortest(pair.expr)
    assert (None if text is None else len(text)) == shortest_by_search(pair.expr)
    assert text is None or pair.holds(text.decode())


@given(PAIRS, st.randoms(use_true_random=False))
def test_closing_takes_no_more_than_the_reserve(pair: Pair, rng: random.Random) -> None:
    if shortest(pair.expr) is None:
        assert reserve(pair.expr) >= 0
    else:
        walk_and_check(pair.expr, rng, 30)


_LENGTH = {
    "open": repeat(CHARACTER, 4, None),
    "bounded": repeat(CHARACTER, 3, 9),
    "short": repeat(CHARACTER, 0, 5),
}


@pytest.mark.parametrize("pattern", ["^a*b$", r"^(ab|c\"d)*e?$", r"\d", "^(?:aa|aab)*$", "[^a]\n?"])
@pytest.mark.parametrize("length", _LENGTH)
@given(rng=st.randoms(use_true_random=False))
def test_patterns_with_a_length_close_in_time(
    pattern: str, length: str, rng: random.Random
) -> None:
    expr = both(escaped(parse_pattern(pattern)), _LENGTH[length])
    walk_and_check(expr, rng, 25)


@given(rng=st.randoms(use_true_random=False))
def test_lists_of_words_and_pairs_close_in_time(rng: random.Random) -> None:
    for expr in (
        words(["a", "abcdefgh", "abcx", "b", "bé🙂"]),
        distinct(["one", "two", "three", "thirteen"], ",", 2, None),
        ordered(['"a":', '"ab":', '"é":', '"è":'], [literal("1"), ANY, words(["x", "xyz"]), ANY]),
        concat(repeat(literal("abc"), 3, 5), chars([(0x10000, 0x10FFFF)])),
    ):
        walk_and_check(expr, rng, 40)


_OPEN = repeat(CHARACTER)


@given(
    pattern=st.sampled_from(
        ["^(?!ab)[a-c]*$", "(?<!a)b(?!c)", "^((?!aa).)*$", "^(?=.*a)(?!.*bb)[ab]+(?<!b)$"]
    ),
    least_most=st.sampled_from([(0, None), (0, 256), (3, 40)]),
    rng=st.randoms(use_true_random=False),
)
def test_what_look_around_leaves_closes_in_time(
    pattern: str, least_most: tuple[int, int | None], rng: random.Random
) -> None:
    content = escaped(parse_pattern(pattern))
    walk_and_check(both(content, repeat(CHARACTER, *least_most)), rng, 12)


@given(
    left=st.sampled_from([_OPEN, repeat(CHARACTER, 0, 9), escaped(parse_pattern("^a*b"))]),
    right=st.sampled_from(["^a", "b$", "^[a-c]{1,4}$", '"']),
    rng=st.randoms(use_true_random=False),
)
def test_differences_close_in_time(left: Expr, right: str, rng: random.Random) -> None:
    expr = difference(left, escaped(parse_widely(right)))
    walk_and_check(expr, rng, 12)
    walk_and_check(concat(literal("["), repeat(alt(expr, ANY), 1, 2), literal("]")), rng, 6)


def test_two_cycles_need_their_product() -> None:
    expr = both(repeat(literal("aaaaaaa")), repeat(literal("aaaaa")))
    after = derive(expr, ord("a"))
    assert len(shortest(after) or b"") == 34
    assert reserve(expr) >= 34


def test_an_intersection_without_texts_is_seen() -> None:
    even, odd = repeat(literal("aa"), 1), concat(literal("a"), repeat(literal("aa")))
    assert shortest(both(literal("ab"), words(["ac", "b"]))) is None
    assert shortest(both(even, odd)) is None
    assert shortest(concat(literal("x"), both(even, odd), literal("y"))) is None
    assert shortest(NOTHING) is None
    assert steps(NOTHING) == []
    assert reserve(NOTHING) == 0


def test_what_is_too_large_is_said_so() -> None:
    with pytest.raises(TooComplex, match="more than 1,000,000 bytes"):
        shortest(repeat(literal("ab"), 10**9))
    # Which of the last characters were an a is 2^12 states, none of which is a way out.
    many = parse_pattern("^[ab]*a[ab]{12}$")
    never = concat(repeat(chars([(97, 98)])), literal("c"))
    with pytest.raises(TooComplex, match="more than 2,000 states"):
        shortest(both(both(many, never), parse_pattern("^[ab]*[ab]$")))
    assert reserve(both(many, repeat(CHARACTER, 1))) > 10**8
    assert reserve(both(many, repeat(CHARACTER, 0, 99))) == 99  # no text is longer
    assert reserve(both(many, parse_pattern("^[ab]*b[ab]{11}$"))) > 10**8
