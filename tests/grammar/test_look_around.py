"""Look-around and the wide reading of patterns, against Python's and Rust's own."""

from __future__ import annotations

import re

import hypothesis.strategies as st
import jsonschema_rs
import pytest
from hypothesis import given

from typedllm.grammar.closing import reserve, shortest
from typedllm.grammar.pattern import NotRegular, parse_pattern, parse_widely
from typedllm.grammar.regular import ANY, NOTHING, Expr, both, difference, matches, repeat

ASCII_TEXTS = st.text("abx0-. _", max_size=8)
# What the dialects do not agree on: a line end, a carriage return, letters and digits beyond ASCII.
ANY_TEXTS = st.text("ab0- \n\r\u2028é٣", max_size=6)
_FANCY = jsonschema_rs.FancyRegexOptions()

_ATOMS = st.sampled_from(["a", "b", "-", ".", r"\d", r"\w", r"\W", r"\s", r"\S", "[ab]", "[^a]"])


def _wider(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.one_of(
        st.lists(inner, max_size=3).map("".join),
        st.lists(inner, min_size=2, max_size=3).map(lambda found: f"(?:{'|'.join(found)})"),
        st.builds("(?:{}){}".format, inner, st.sampled_from(["*", "+", "?", "{1,2}"])),
    )


_PLAIN = st.recursive(_ATOMS, _wider, max_leaves=4)
_LOOKS = st.one_of(
    st.builds("(?{}{}{})".format, st.sampled_from("=!"), _PLAIN, st.sampled_from(["", "$"])),
    st.builds("(?{}^{}{})".format, st.sampled_from("=!"), _PLAIN, st.sampled_from(["", "$"])),
    st.builds("(?<{}{})".format, st.sampled_from("=!"), st.lists(_ATOMS, max_size=2).map("".join)),
    st.sampled_from([r"\b", "^", "$", "(?!(?!a)b)", "(?=(?!a$).*b)"]),
)
_CHAINS = st.lists(st.one_of(_PLAIN, _LOOKS), min_size=1, max_size=4).map("".join)
_GROUPS = st.one_of(
    _CHAINS,
    st.builds("(?:{}|{})".format, _CHAINS, _CHAINS),
    st.builds("(?:{})?".format, _CHAINS),
    st.builds("(?:(?!{}).)*$".format, _PLAIN),
)
PATTERNS = st.builds(
    "{}{}{}".format,
    st.sampled_from(["", "^"]),
    st.lists(_GROUPS, min_size=1, max_size=2).map("".join),
    st.sampled_from(["", "$", "(?<!-)$"]),
)


def verdicts(pattern: str, text: str) -> set[bool]:
    """Whether a pattern is found: by Python, in both its modes, and by the validator's engine."""
    found = {
        re.search(pattern, text) is not None,
        re.search(pattern, text, re.ASCII) is not None,
    }
    try:
        rust = jsonschema_rs.validator_for({"pattern": pattern}, pattern_options=_FANCY)
    except jsonschema_rs.ValidationError:  # it does not take all that Python takes
        return found
    return {*found, rust.is_valid(text)}


@given(PATTERNS, st.lists(ASCII_TEXTS, min_size=1, max_size=5))
def test_on_ascii_texts_both_readings_are_pythons(pattern: str, texts: list[str]) -> None:
    try:
        narrow, wide = parse_pattern(pattern), parse_widely(pattern)
    except NotRegular:
        return
    for text in texts:
        found = re.search(pattern, text, re.ASCII) is not None
        assert matches(narrow, text) == matches(wide, text) == found, text


@given(PATTERNS, st.lists(ANY_TEXTS, min_size=1, max_size=5))
def test_the_readings_enclose_every_dialect(pattern: str, texts: list[str]) -> None:
    try:
        narrow, wide = parse_pattern(pattern), parse_widely(pattern)
    except NotRegular:
        return
    for text in texts:
        found = verdicts(pattern, text)
        if matches(narrow, text):
            assert found == {True}, text
        if not matches(wide, text):
            assert found == {False}, text


@given(PATTERNS, PATTERNS, ANY_TEXTS)
def test_what_a_pattern_leaves_is_left_in_every_dialect(one: str, other: str, text: str) -> None:
    try:
        left = difference(parse_pattern(one), parse_widely(other))
    except NotRegular:
        return
    if matches(left, text):
        assert verdicts(one, text) == {True}
        assert verdicts(other, text) == {False}


@pytest.mark.parametrize(
    ("pattern", "inside", "outside"),
    [
        (r"^(?=.*[A-Z])(?=.*\d).{4,}$", ["Abc1", "1aaZ"], ["abc1", "Ab1", "ABCD"]),
        ("^(?!-)(?!.*--)[a-z-]+(?<!-)$", ["a", "a-b"], ["-a", "a-", "a--b"]),
        (r"^(?!000|666|9\d\d)\d{3}-(?!00)\d{2}$", ["001-01"], ["000-01", "912-01", "001-00"]),
        ("^(?:(?!a)[ab]c+|d)$", ["bcc", "d"], ["ac", "b"]),
        ("(?!foo$)^foo", ["food"], ["foo", "xfood"]),
        (r"(?!^\d+$)^.+$", ["a", "1a"], ["12", ""]),
        ("^((?!foo).)*$", ["", "fofo"], ["foo", "xfoox"]),
        (r"\bword\b", ["word", "a word.", "-word-"], ["words", "sword", "éword", "word_"]),
        ("(?<!x)ab(?!y)", ["ab", "yabx", "xab ab"], ["xab", "aby"]),
        ("^a(?<=a)b(?<=^ab)$", ["ab"], ["aab"]),
        ("(?:^(?=a))?b", ["b", "ab"], ["a"]),
        (r"^(?=.{1,5}$)(?:[a-z]{1,2}\.)+[a-z]{2}$", ["a.bb", "ab.cc"], ["a.b.c.dd"]),
        (r"^\p{Lu}\p{L}*$", ["A", "Éa", "Ωb"], ["a", "A1", ""]),
        (r"^[\p{N}_]\P{L}$", ["1-", "_٣"], ["a-", "1a"]),
    ],
)
def test_what_people_write(pattern: str, inside: list[str], outside: list[str]) -> None:
    expr = parse_pattern(pattern)
    assert [text for text in inside if not matches(expr, text)] == []
    assert [text for text in outside if matches(expr, text)] == []


def test_what_is_decided_at_once_leaves_nothing_to_check() -> None:
    assert parse_pattern("^(?=a)a$") is parse_pattern("^a$")
    assert parse_pattern("^(?!a)b$") is parse_pattern("^b$")
    assert parse_pattern(r"^\b\w+\b$") is parse_pattern(r"^\w+$")
    assert parse_pattern("^(?=b)a$") is NOTHING
    assert parse_pattern("^a(?<=b)$") is NOTHING


@pytest.mark.parametrize(
    ("pattern", "most"),
    [
        ("^(?!foo$)[a-z]+$", 6),
        ("^(?!.*--)[a-z-]*(?<!-)$", 6),
        (r"^(?![\s\S]*foo)[\s\S]{0,256}$", 1024),
        (r"^(?=.*[A-Z])(?=.*\d)(?=.*[^A-Za-z0-9]).{8,64}$", 256),
        ("^((?!foo).)*$", 200),
    ],
)
def test_the_reserve_stays_small(pattern: str, most: int) -> None:
    assert reserve(parse_pattern(pattern)) <= most


@pytest.mark.parametrize(
    "left", [repeat(ANY), repeat(ANY, 0, 256), parse_pattern("^[a-z]{3,250}$")]
)
@pytest.mark.parametrize("right", ["^a", "b$", "^[a-z]{1,9}$", "x-[0-9]+"])
def test_the_reserve_of_a_difference_stays_small(left: Expr, right: str) -> None:
    expr = difference(left, parse_widely(right))
    assert shortest(expr) is not None
    assert reserve(expr) <= 1100
    assert reserve(both(expr, repeat(ANY, 0, 300))) <= 1200
