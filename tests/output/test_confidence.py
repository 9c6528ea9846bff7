"""Confidence and clipped paths, against their definitions."""

from __future__ import annotations

import itertools
import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_spans import values

from typedllm.output.confidence import clipped, confidence
from typedllm.output.spans import spans
from typedllm.records import Token


@st.composite
def tokens_of(draw: st.DrawFn, text: str) -> list[Token]:
    """The bytes of a text in tokens that may split characters, some of them empty."""
    encoded = text.encode()
    cuts = draw(st.lists(st.integers(min_value=0, max_value=len(encoded))))
    edges = [0, *sorted(cuts), len(encoded)]
    logprob = st.floats(min_value=-20, max_value=0) | st.just(-math.inf)
    return [Token(encoded[start:end], draw(logprob)) for start, end in itertools.pairwise(edges)]


def product(text: str, tokens: list[Token], start: int, end: int) -> float:
    """The definition: the tokens that share a byte with the characters from start to end."""
    first, after = len(text[:start].encode()), len(text[:end].encode())
    total, position = 0.0, 0
    for token in tokens:
        if position < after and position + len(token.text) > first:
            total += token.logprob
        position += len(token.text)
    return math.exp(total)


@given(st.data(), values)
def test_is_the_product_over_the_tokens_that_overlap(data: st.DataObject, value: Any) -> None:
    text = json.dumps(value, ensure_ascii=False)
    tokens = data.draw(tokens_of(text))
    found = confidence(text, tokens)
    where = spans(text)
    assert list(found) == list(where)
    assert found.pop("$") == pytest.approx(math.exp(sum(token.logprob for token in tokens)))
    for path, probability in found.items():
        assert probability == pytest.approx(product(text, tokens, *where[path]), abs=1e-12)


def test_the_end_of_a_number_belongs_to_the_delimiter() -> None:
    tokens = [Token(b'{"a":', 0.0), Token(b"12", math.log(0.5)), Token(b"}", math.log(0.25))]
    assert confidence('{"a":12}', tokens) == pytest.approx({"$": 0.125, "$.a": 0.5})


@pytest.mark.parametrize("text", ["four", "[1,2] are", '{"a":1}'])
def test_only_the_whole_where_text_and_tokens_do_not_tell_more(text: str) -> None:
    tokens = [Token(b"four", math.log(0.5)), Token(b"", math.log(0.5))]
    assert confidence(text, tokens) == pytest.approx({"$": 0.25})


def test_no_tokens() -> None:
    assert confidence("", []) == {"$": 1.0}


TEXT = '{"name":"Ada","tags":["a","b"],"age":36,"ok":true}'


@pytest.mark.parametrize(
    ("chosen", "paths"),
    [
        ('{"name":"Ad', ("$", "$.name", "$.tags", "$.tags[0]", "$.tags[1]", "$.age", "$.ok")),
        ('{"name":"Ada"', ("$", "$.tags", "$.tags[0]", "$.tags[1]", "$.age", "$.ok")),
        ('{"name":"Ada","tags":["a"', ("$", "$.tags", "$.tags[1]", "$.age", "$.ok")),
        ('{"name":"Ada","tags":["a","b"]', ("$", "$.age", "$.ok")),
        ('{"name":"Ada","tags":["a","b"],"age":36', ("$", "$.age", "$.ok")),
        ('{"name":"Ada","tags":["a","b"],"age":36,', ("$", "$.ok")),
        ('{"name":"Ada","tags":["a","b"],"age":36,"ok":true', ("$",)),
        (TEXT, ()),
    ],
)
def test_clipped(chosen: str, paths: tuple[str, ...]) -> None:
    assert TEXT.startswith(chosen)
    assert clipped(TEXT, len(chosen)) == paths


def test_plain_text_is_clipped_as_a_whole() -> None:
    assert clipped("an answer", 3) == ("$",)
