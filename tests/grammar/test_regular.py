"""The algebra of regular expressions, against Python's own."""

from __future__ import annotations

import re
from itertools import pairwise, permutations

import hypothesis.strategies as st
import pytest
from hypothesis import given

from tests.grammar.expressions import ALPHABET, PAIRS, TEXTS, Pair
from typedllm.grammar.characters import (
    LAST_CODE_POINT,
    complement,
    contains,
    encoded_size,
    first_char,
    intersection,
    merged,
)
from typedllm.grammar.regular import (
    ALL,
    ANY,
    EMPTY,
    NOTHING,
    alt,
    both,
    chars,
    concat,
    derive,
    derive_all,
    difference,
    distinct,
    literal,
    matches,
    nullable,
    optional,
    ordered,
    repeat,
    words,
)

_POINTS = st.sampled_from([*range(0x20, 0x30), 0x7F, 0x80, 0x7FF, 0x800, 0xFFFF, 0x10000, 0x10FFFF])
RANGES = st.lists(st.tuples(_POINTS, _POINTS).map(lambda ends: (min(ends), max(ends))), max_size=4)


@given(PAIRS, TEXTS)
def test_matching_is_pythons(pair: Pair, text: str) -> None:
    assert matches(pair.expr, text) == pair.holds(text)


@given(PAIRS)
def test_the_empty_text_is_pythons(pair: Pair) -> None:
    assert nullable(pair.expr) == pair.holds("")


@given(PAIRS, TEXTS, TEXTS)
def test_a_derivative_matches_what_may_follow(pair: Pair, begin: str, end: str) -> None:
    rest = derive_all(pair.expr, begin.encode())
    assert matches(rest, end) == pair.holds(begin + end)


@given(PAIRS, PAIRS, TEXTS)
def test_laws_of_the_algebra(a: Pair, b: Pair, text: str) -> None:
    left, right = a.holds(text), b.holds(text)
    b_begins = any(b.holds(text[:cut]) for cut in range(len(text) + 1))
    assert matches(alt(a.expr, b.expr), text) == (left or right)
    assert matches(both(a.expr, b.expr), text) == (left and right)
    assert matches(difference(a.expr, b.expr), text) == (left and not right)
    assert matches(both(a.expr, concat(b.expr, ALL)), text) == (left and b_begins)
    assert matches(difference(a.expr, concat(b.expr, ALL)), text) == (left and not b_begins)
    assert matches(optional(a.expr), text) == (left or not text)
    cuts = range(len(text) + 1)
    split = any(a.holds(text[:cut]) and b.holds(text[cut:]) for cut in cuts)
    assert matches(concat(a.expr, b.expr), text) == split


def test_equal_expressions_are_the_same_object() -> None:
    assert concat(literal("a"), concat(literal("b"), ANY)) is concat(
        concat(literal("a"), literal("b")), ANY
    )
    assert alt(literal("a"), alt(ANY, literal("a"))) is alt(literal("a"), ANY)
    assert both(ANY, ANY) is ANY
    assert both(ANY, ALL) is ANY
    assert both(ALL, ANY) is ANY
    assert difference(ANY, NOTHING) is ANY
    assert alt(literal("a"), ALL) is ALL
    assert concat(optional(ANY), ALL) is ALL
    assert repeat(ANY, 1, 1) is ANY
    assert concat(repeat(ANY), repeat(ANY)) is repeat(ANY)
    assert words([]) is NOTHING
    assert chars([]) is NOTHING


def test_what_is_impossible_is_nothing() -> None:
    assert concat(literal("a"), NOTHING, literal("b")) is NOTHING
    assert alt() is NOTHING
    assert both(ANY, NOTHING) is NOTHING
    assert both(ANY, EMPTY) is NOTHING
    assert both(repeat(ANY), EMPTY) is EMPTY
    assert difference(ANY, ANY) is NOTHING
    assert difference(ANY, ALL) is NOTHING
    assert difference(EMPTY, repeat(ANY)) is NOTHING
    assert repeat(ANY, 3, 2) is NOTHING
    assert repeat(NOTHING) is EMPTY
    assert repeat(NOTHING, 1) is NOTHING
    assert ordered([], []) is NOTHING
    assert derive(NOTHING, 0x61) is NOTHING


@given(st.sampled_from([ANY, words(["é"]), literal("🙂"), chars([(0x80, 0xFFFF)])]), st.binary())
def test_bytes_that_are_no_utf8_match_nothing(expr: object, text: bytes) -> None:
    try:
        text.decode()
    except UnicodeDecodeError:
        assert not nullable(derive_all(repeat(ANY), text))
        assert derive_all(words(["é", "ÿ"]), b"\xff") is NOTHING


@given(RANGES, _POINTS)
def test_sets_of_characters(found: list[tuple[int, int]], point: int) -> None:
    ranges = merged(found)
    inside = any(low <= point <= high for low, high in found)
    assert contains(ranges, point) == inside
    assert contains(complement(ranges), point) != inside
    assert complement(complement(ranges)) == ranges
    assert all(low <= high for low, high in ranges)
    assert all(a[1] + 1 < b[0] for a, b in pairwise(ranges))


@given(RANGES, RANGES)
def test_an_intersection_holds_what_both_hold(
    left: list[tuple[int, int]], right: list[tuple[int, int]]
) -> None:
    a, b = merged(left), merged(right)
    assert intersection(a, b) == complement(merged((*complement(a), *complement(b))))


def test_surrogates_are_no_characters() -> None:
    assert merged([(0xD800, 0xDFFF)]) == ()
    assert merged([(0, LAST_CODE_POINT)]) == ((0, 0xD7FF), (0xE000, LAST_CODE_POINT))


@given(RANGES.map(merged).filter(bool), st.characters(exclude_categories=["Cs"]), st.data())
def test_the_first_character_with_some_bytes(
    ranges: tuple[tuple[int, int], ...], char: str, data: st.DataObject
) -> None:
    encoded = char.encode()
    assert encoded_size(encoded[0]) == len(encoded)
    seen = encoded[: data.draw(st.integers(0, len(encoded) - 1))]
    found = first_char(ranges, seen)
    if found is None:
        assert not contains(ranges, ord(char))
    else:
        assert contains(ranges, ord(found))
        assert found.encode().startswith(seen)
        assert not contains(ranges, ord(char)) or found <= char


@pytest.mark.parametrize("lead", [0x80, 0xBF, 0xC0, 0xC1, 0xF5, 0xFF])
def test_bytes_that_begin_no_character(lead: int) -> None:
    assert encoded_size(lead) == 0
    assert derive(ANY, lead) is NOTHING
    assert first_char(((0, LAST_CODE_POINT),), b"\xc3\x28") is None


@pytest.mark.parametrize(("least", "most"), [(0, None), (0, 2), (1, 1), (2, 3), (3, None), (0, 0)])
def test_distinct_words_come_once_each(least: int, most: int | None) -> None:
    found = ["a", "ab", "b"]
    expr = distinct(found, ",", least, most)
    bound = 3 if most is None else most
    for count in range(4):
        for texts in permutations(found, count):
            assert matches(expr, ",".join(texts)) == (least <= count <= bound), texts
    for text in ("a,a", "ab,ab", "a,", ",a", "a,b,a", "c"):
        assert not matches(expr, text)


def test_more_distinct_words_than_there_are_is_nothing() -> None:
    assert distinct(["a"], ",", 2, None) is NOTHING


@given(st.lists(st.sampled_from(ALPHABET), unique=True, min_size=1), TEXTS)
def test_ordered_pairs_come_in_their_order(names: list[str], value: str) -> None:
    keys = [f"{name}=" for name in names]
    some = ordered(keys, [literal(str(index)) for index in range(len(keys))])
    pairs = [f"{key}{index}" for index, key in enumerate(keys)]
    python = "|".join(
        re.escape(pair) + "".join(f"(?:,{re.escape(later)})?" for later in pairs[index + 1 :])
        for index, pair in enumerate(pairs)
    )
    for text in ("", ",".join(pairs), ",".join(pairs[::2]), ",".join(reversed(pairs)), value):
        assert matches(some, text) == (re.fullmatch(python, text) is not None)
