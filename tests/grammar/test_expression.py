"""A tree of rules as one expression over its JSON text."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator

import hypothesis.strategies as st
import pytest
from hypothesis import given

from typedllm.grammar.escapes import CHARACTER, escaped, quoted
from typedllm.grammar.expression import expression
from typedllm.grammar.pattern import parse_pattern
from typedllm.grammar.regular import ANY, NOTHING, both, literal, matches, repeat, words
from typedllm.grammar.tree import Array, Literals, Member, Node, Object, OneOf, Scalar, Text

ONE = Literals(("1",))
TWO = Literals(("2",))


def accepts(node: Node, text: str) -> bool:
    """Whether the tree's expression matches a text."""
    return matches(expression(node), text)


@given(st.text())
def test_any_string_has_one_canonical_text(value: str) -> None:
    assert json.loads(quoted(value)) == value
    assert accepts(Text(), quoted(value))
    ascii_text = json.dumps(value)
    assert accepts(Text(), ascii_text) == (ascii_text == quoted(value))


@given(st.text(max_size=6), st.integers(0, 4), st.none() | st.integers(0, 4))
def test_lengths_count_characters_not_escapes(value: str, least: int, most: int | None) -> None:
    fits = least <= len(value) and (most is None or len(value) <= most)
    assert accepts(Text(min_length=least, max_length=most), quoted(value)) == fits


@given(st.text('ab"\\\n\x00é', max_size=5))
def test_a_pattern_is_over_characters_not_escapes(value: str) -> None:
    expr = parse_pattern('^[a"\\\\\x00-\n]*b?$')
    assert accepts(Text(pattern=expr), quoted(value)) == matches(expr, value)
    short = Text(pattern=expr, min_length=1, max_length=2)
    assert accepts(short, quoted(value)) == (matches(expr, value) and 1 <= len(value) <= 2)


def test_escapes_of_every_kind_of_expression() -> None:
    quote = both(words(['"', "\n"]), ANY)
    assert matches(escaped(quote), r"\"")
    assert matches(escaped(repeat(quote, 2, 2)), r"\n\"")
    assert escaped(literal("plain")) is literal("plain")
    assert escaped(NOTHING) is NOTHING
    assert escaped(ANY) is CHARACTER


@pytest.mark.parametrize("count", range(6))
@pytest.mark.parametrize(("least", "most"), [(0, None), (0, 0), (0, 1), (1, 1), (2, 3), (3, None)])
@pytest.mark.parametrize("prefix", [0, 1, 2])
def test_items_are_counted(prefix: int, least: int, most: int | None, count: int) -> None:
    node = Array(prefix=(TWO,) * prefix, item=ONE, min_items=least, max_items=most)
    if most is not None and most < prefix:
        node = Array(prefix=(TWO,) * most, min_items=least, max_items=most)
    text = f"[{','.join(['2'] * min(prefix, count) + ['1'] * (count - prefix))}]"
    assert accepts(node, text) == (least <= count and (most is None or count <= most))


def test_items_of_a_unique_array_differ() -> None:
    node = Array(item=Literals(("1", "2", "3")), min_items=1, max_items=2, unique=True)
    assert [accepts(node, text) for text in ("[]", "[1]", "[2,1]", "[1,1]", "[1,2,3]")] == [
        False,
        True,
        True,
        False,
        False,
    ]


_FLAGS = list(itertools.product([True, False], repeat=3))
_NAMES = ["a", "b", 'c"']


def _objects_of(required: tuple[bool, ...]) -> Iterator[tuple[str, bool, int, int]]:
    """Texts with whether all required members are there, and the counts of members and entries."""
    for written in _FLAGS:
        complete = all(there or not r for there, r in zip(written, required, strict=True))
        for more in range(4):
            pairs = [f"{quoted(n)}:1" for n, there in zip(_NAMES, written, strict=True) if there]
            yield "{" + ",".join(pairs + ['"z":2'] * more) + "}", complete, sum(written), more


@pytest.mark.parametrize("required", _FLAGS, ids=str)
@pytest.mark.parametrize("most", [None, 0, 2])
def test_members_come_in_order_and_entries_after_them(
    required: tuple[bool, ...], most: int | None
) -> None:
    members = tuple(Member(n, ONE, required=r) for n, r in zip(_NAMES, required, strict=True))
    node = Object(members=members, entries=((Text(pattern=literal("z")), TWO),), max_entries=most)
    for text, complete, _, more in _objects_of(required):
        assert accepts(node, text) == (complete and (most is None or more <= most)), text


@pytest.mark.parametrize("required", _FLAGS, ids=str)
@pytest.mark.parametrize("most_entries", [0, 2])
def test_properties_are_counted(required: tuple[bool, ...], most_entries: int) -> None:
    for least, most in itertools.product(range(5), [None, 0, 1, 2, 3, 4]):
        node = Object(
            members=tuple(
                Member(n, ONE, required=r) for n, r in zip(_NAMES, required, strict=True)
            ),
            entries=((Text(pattern=literal("z")), TWO),) if most_entries else (),
            min_properties=least,
            max_properties=most,
            max_entries=most_entries or None,
        )
        for text, complete, count, more in _objects_of(required):
            fits = least <= count + more and (most is None or count + more <= most)
            assert accepts(node, text) == (complete and fits and more <= most_entries), text


@pytest.mark.parametrize(
    "text",
    [
        '{"b":1,"a":1}',
        '{"a":1,"a":1}',
        '{"a":1,}',
        '{,"a":1}',
        '{"a":1"b":1}',
        '{ "a":1}',
        '{"a":2}',
    ],
)
def test_what_is_no_compact_object_in_order_is_refused(text: str) -> None:
    for required in (True, False):
        node = Object(
            members=(Member("a", ONE, required=required), Member("b", ONE, required=False))
        )
        assert not accepts(node, text)


def test_alternatives_and_shared_nodes() -> None:
    either = OneOf((ONE, Scalar(words(["true", "3.5"])), Array(item=TWO)))
    node = Array(item=either, prefix=(either,), min_items=1)
    assert accepts(node, "[1,true,[2,2],3.5]")
    assert not accepts(node, "[2]")
    assert not accepts(Object(), '{"a":1}')
    assert accepts(Object(), "{}")
