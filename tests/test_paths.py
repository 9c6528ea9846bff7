"""Paths: different keys have different paths, in the form that JSONPath has."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from typedllm.paths import child


@pytest.mark.parametrize(
    ("key", "path"),
    [
        ("age", "$.age"),
        (3, "$[3]"),
        ("3", "$['3']"),
        ("Größe", "$.Größe"),
        ("analysis of A", "$['analysis of A']"),
        ("", "$['']"),
        ("it's", r"$['it\'s']"),
        ("back\\slash", r"$['back\\slash']"),
        ("line\nbreak\x00", r"$['line\nbreak\u0000']"),
    ],
)
def test_form(key: str | int, path: str) -> None:
    assert child("$", key) == path


def test_nested() -> None:
    assert child(child(child("$", "items"), 1), "sku") == "$.items[1].sku"


@given(st.lists(st.text() | st.integers(min_value=0), unique=True))
def test_different_keys_have_different_paths(keys: list[str | int]) -> None:
    assert len({child("$", key) for key in keys}) == len(keys)
