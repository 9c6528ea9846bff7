"""Spans: where each value stands, in documents that are whole, cut, or none."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from typedllm.output.scan import documents, lexemes
from typedllm.output.spans import spans
from typedllm.paths import child

scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
values = st.recursive(
    scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20
)


def walk(value: Any, path: str = "$") -> dict[str, Any]:
    """Every value inside a value, by path, each after the one that holds it."""
    found = {path: value}
    members = {list: enumerate, dict: dict.items}.get(type(value), lambda _: ())
    for key, inner in members(value):
        found |= walk(inner, child(path, key))
    return found


@given(values, st.sampled_from([None, 1]), st.booleans())
def test_each_span_is_its_value(value: Any, indent: int | None, ascii_only: bool) -> None:
    text = json.dumps(value, indent=indent, ensure_ascii=ascii_only)
    found = {path: json.loads(text[start:end]) for path, (start, end) in spans(text).items()}
    assert list(found.items()) == list(walk(value).items())


@given(values, st.data())
def test_a_cut_text_has_the_values_that_it_begins(value: Any, data: st.DataObject) -> None:
    text = json.dumps(value)
    cut = data.draw(st.integers(min_value=0, max_value=len(text)))
    whole = spans(text).items()
    expected = {path: (start, min(end, cut)) for path, (start, end) in whole if start < cut}
    assert spans(text[:cut]) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "Hello",
        "12 apples",
        "[1] is the source",
        '{"a" 1}',
        "{'a': 1}",
        "[1,]",
        "{a: 1}",
        '{"a": nul, "b": 1}',
        "}",
        '{"a": 1]',
        '{"\\q": 1}',
        "[1, // one\n2]",
        "[1]\xa0",
        ",",
    ],
)
def test_no_json_has_no_spans(text: str) -> None:
    assert spans(text) == {}


def test_the_last_of_equal_keys_counts() -> None:
    assert spans('{"a":{"b":1},"a":2}') == {"$": (0, 19), "$.a": (17, 18)}


def test_depth_is_bounded() -> None:
    assert len(spans("[" * 200)) == 200
    assert spans("[" * 100_000) == {}


@given(st.text(alphabet="{}[]:,\"'\\/*# \nab1"))
def test_lexemes_are_the_text(text: str) -> None:
    found = list(lexemes(text))
    assert "".join(lexeme.text for lexeme in found) == text
    assert all(text[each.start : each.end] == each.text for each in found)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('a {"b": "}"} c [1]', ['{"b": "}"}', "[1]"]),
        ('[don\'t] {"a": 1}', ["[don't]", '{"a": 1}']),
        ("{'}': 1} it's", ["{'}': 1}"]),
        ("[} {}", ["{}"]),
        ('{"a": 1} then [1, ', []),
        ("none", []),
    ],
)
def test_documents(text: str, found: list[str]) -> None:
    assert [text[start:end] for start, end in documents(text)] == found
