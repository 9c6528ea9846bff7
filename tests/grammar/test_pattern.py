"""Regular expressions as people write them, against Python's own."""

from __future__ import annotations

import re

import hypothesis.strategies as st
import pytest
from hypothesis import given

from typedllm.grammar.pattern import NotRegular, parse_pattern
from typedllm.grammar.regular import matches

PATTERNS = [
    "",
    "a",
    "^a+$",
    "a|^b$",
    "(^a)|(b$)",
    "^(?:a|b){2,3}c?$",
    r"^\d{3}-[A-Z][^\s,]*$",
    r"^[\w.-]+@x\.y$",
    r"^\S+$",
    r"^[^a-z]*\Z",
    r"\Aa",
    r"^(?P<year>\d{4})-(?P<month>0[1-9]|1[0-2])$",
    r"[\d\-a-c]+?x*?",
    r"^[]a]$",
    r"^[a\]-]$",
    r"^[-a]|[a-]$",
    r"a{1,}b{0}",
    r"\x41\u0042[\x43-\x45]",
    r"\t|\n|\r|\f|\v|\0",
    r"^\D\W$",
    r"^[^\d]$",
    r"^[^\W]$",
    r"[\b]",
    r"(((a)))",
    r"^(a|)(b|)$",
    r"^$",
    r"a$|^b",
    r"\.\*\+\?\(\)\[\]\{\}\|\^\$\\\/\-",
    r"^(a+)+$",
    r"(x+x+)+y",
    r"^(?:(?:a|b)*(?:a|ab))*$",
    "x{a}",
    "{",
    "}",
    "]",
]
TEXTS = st.text("abcxyABZ019-_.,@ \t\n{}[]()^$*+?|\\/\x08", max_size=12)
# Python's \s has four control characters more, and its $ allows one line end after it.
ASCII = re.ASCII


def in_python(pattern: str) -> str:
    """The same pattern where the dialects differ: `$` is the end of the text, `.` no line end."""
    return re.sub(r"(?<!\\)\$(?![^\[]*\](?!\]))", r"\\Z", pattern)


@pytest.mark.parametrize("pattern", PATTERNS)
@given(text=TEXTS)
def test_a_pattern_is_found_where_python_finds_it(pattern: str, text: str) -> None:
    assert matches(parse_pattern(pattern), text) == bool(re.search(in_python(pattern), text, ASCII))


_ATOMS = st.sampled_from(
    ["a", "b", "x", ".", r"\d", r"\w", r"\s", r"\D", r"\W", r"\S", "[ab]", "[^a]", "[a-c0]", r"\."]
)


def _wider(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.one_of(
        st.lists(inner, max_size=4).map("".join),
        st.lists(inner, min_size=2, max_size=3).map(lambda found: f"({'|'.join(found)})"),
        st.builds(
            "(?:{}){}".format, inner, st.sampled_from(["*", "+", "?", "*?", "{2}", "{1,}", "{0,2}"])
        ),
    )


MADE = st.builds(
    "{}{}{}".format,
    st.sampled_from(["", "^"]),
    st.recursive(_ATOMS, _wider, max_leaves=6),
    st.sampled_from(["", "$"]),
)


@given(MADE, st.text("abcx0. \n_", max_size=8))
def test_made_patterns_mean_what_python_means(pattern: str, text: str) -> None:
    assert matches(parse_pattern(pattern), text) == bool(re.search(in_python(pattern), text, ASCII))


@pytest.mark.parametrize(
    ("pattern", "inside", "outside"),
    [
        (r"^\d$", "7", "٣"),  # digits of other scripts are digits to some dialects only
        (r"^\D$", "-", "٣"),
        (r"^\w$", "w", "é"),
        (r"^\W$", "-", "é"),  # a letter to some dialects
        (r"^\s$", "\t", "\u00a0"),
        (r"^\S$", "é", "\u2028"),
        (r"^.$", "é", "\u2028"),
        (r"^.$", "🙂", "\r"),
        (r"^[^\w]$", "-", "é"),
        (r"^[[:alpha:]_]$", "_", "5"),
        (r"^[[:digit:][:upper:]]$", "Q", "q"),
        (r"^\u{1F642}$", "🙂", "a"),
        (r"^\x{e9}$", "é", "a"),
    ],
)
def test_only_what_all_dialects_match_is_written(pattern: str, inside: str, outside: str) -> None:
    expr = parse_pattern(pattern)
    assert matches(expr, inside)
    assert not matches(expr, outside)


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        ("(?:(?=a)a)+b", "look-around or an anchor inside a repetition"),
        ("(?:(?!ab)a)*b", "look-around or an anchor inside a repetition"),
        ("(?=a)[ab]c*(?<=b)", "look-ahead over what has look-behind after it"),
        ("(?=a?(?<=b))", "look-behind inside look-ahead"),
        ("(?<=a$)", "look-ahead or a repeated anchor in look-behind"),
        ("(?<=(?=a))", "look-ahead or a repeated anchor in look-behind"),
        ("(?:(?!ab).|b)" * 8 + "c", "too many alternatives"),
        ("(?i)a", "flags"),
        ("(?P=name)", "flags"),
        ("(?<1>a)", "flags"),
        ("(?>a)", "flags"),
        ("a{,2}", "a count without its least"),
        ("a{2}{2}", "a count of a count"),
        (r"(a)\1", r"the escape \\1"),
        (r"(?<n>a)\k<n>", r"the escape \\k"),
        (r"\p{Greek}", "general category"),
        (r"\P{", "general category"),
        (r"\pL", "general category"),
        (r"\b.*\b", "look-ahead over"),
        (r"a\B", r"the escape \\B"),
        ("a++", "possessive"),
        ("a*+", "possessive"),
        ("[a", "ends too early"),
        ("a\\", "ends too early"),
        ("(a", "not closed"),
        ("a)", "unopened"),
        ("*a", "nothing to repeat"),
        ("a|?", "nothing to repeat"),
        ("(^a)*", "anchor inside a repetition"),
        ("(a$)+", "anchor inside a repetition"),
        ("a{2,1}", "end is below its start"),
        ("a{100001}", "count above"),
        ("a{0,9999999}", "count above"),
        ("[b-a]", "malformed range"),
        (r"[a-\d]", "malformed range"),
        (r"[\d-z]", "malformed range"),
        ("[a[b]]", r"a \[ inside a class"),
        ("[[:nonsense:]]", r"a \[ inside a class"),
        ("[a&&b]", "operation on sets"),
        ("[a~~b]", "operation on sets"),
        (r"\xg0", "hexadecimal"),
        (r"\u12", "hexadecimal"),
        (r"\x{110000}", "hexadecimal"),
        (r"\x{12", "hexadecimal"),
        ("(" * 60 + "a" + ")" * 60, "nested deeper than 50"),
    ],
)
def test_what_is_refused_is_said_with_its_place(pattern: str, reason: str) -> None:
    with pytest.raises(NotRegular, match=rf"{reason}.* at character \d+ of "):
        parse_pattern(pattern)


@given(st.text("ab^$|()[]{}?*+.,-\\dwsxuU0129:&~P<>=!", max_size=20))
def test_any_text_is_a_pattern_or_refused(pattern: str) -> None:
    try:
        expr = parse_pattern(pattern)
    except NotRegular:
        return
    matches(expr, "ab")
