"""Mending: what is no JSON in a plain way becomes JSON, and every change is named."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_spans import values

from typedllm.output.mend import mend


@pytest.mark.parametrize(
    ("text", "value", "changes"),
    [
        ("[1, 2,]", [1, 2], ["dropped a comma before a closing bracket"]),
        ("{'a': 'x'}", {"a": "x"}, ["put single quotes right (2 times)"]),
        (r"""['it\'s "so"']""", ['it\'s "so"'], ["put single quotes right"]),
        ("[True, None]", [True, None], ["read True as true", "read None as null"]),
        ("{a: 1, b-c: 2}", {"a": 1, "b-c": 2}, ["put a key in quotes (2 times)"]),
        ("{True: 1}", {"True": 1}, ["put a key in quotes"]),
        ('[1, // one\n"//"]', [1, "//"], ["dropped a comment"]),
        ("[1 /* , 2 */, 3] # end", [1, 3], ["dropped a comment (2 times)"]),
        ('["a\nb\\x41"]', ["a\nbA"], ["escaped characters in a string"]),
        ('["http://x"]', ["http://x"], []),
    ],
)
def test_changes(text: str, value: Any, changes: list[str]) -> None:
    mended, named = mend(text)
    assert json.loads(mended) == value
    assert list(named) == changes


@given(values, st.sampled_from([None, 1]))
def test_json_is_left_alone(value: Any, indent: int | None) -> None:
    text = json.dumps(value, indent=indent)
    assert mend(text) == (text, ())


@pytest.mark.parametrize(
    "text",
    [
        "it's True",
        "[1",
        "[1,,2,]",
        "[,]",
        "{'a': 'b",
        "[1 2,]",
        "[don't,]",
        "[/*",
        "True False",
        "[{'a': 1]",
        "{'a': yes}",
        "[" * 300 + "'a'" + "]" * 300,
    ],
)
def test_nothing_is_guessed(text: str) -> None:
    with pytest.raises(ValueError):
        json.loads(mend(text)[0])


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(plain)
def test_what_python_prints_is_read(value: Any) -> None:
    # Python escapes unprintable characters by \U, which no JSON has.
    if "\\U" not in repr(value):
        assert json.loads(mend(repr(value))[0]) == value
