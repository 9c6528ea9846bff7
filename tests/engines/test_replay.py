"""What is told of an answer that another program decoded: how it ended, and what it chose."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.constraints.walking import grammar
from typedllm.engines.landing import Landing
from typedllm.engines.replay import Chosen, guided_completion
from typedllm.grammar.expression import expression
from typedllm.records import Lark

STORY = grammar({"title": "str", "tags": "list[str]"})
LEAST = len('{"title":"","tags":[]}')
TEXT = '{"title":"Of dragons, and of a knight","tags":["old","long","told again"]}'


def decoded(text: str, budget: int) -> Chosen:
    """A text as our decoder lets it be written, of tokens of one byte."""
    row = Landing(expression(STORY.root), list).row(budget)
    taken: list[bytes] = []
    for byte in text.encode():
        if not row.admits(bytes([byte])):
            closing = [bytes([each]) for each in row.land()]
            break
        taken.append(bytes([byte]))
    else:
        closing = []
    texts = taken + closing
    return Chosen(
        texts=texts,
        logprobs=[math.log(0.9)] * len(texts),
        likeliest=[True] * len(taken) + [False] * len(closing),
        cut=False,
    )


@given(st.integers(LEAST, len(TEXT) + 3))
def test_a_landing_is_found_where_it_was(budget: int):
    chosen = decoded(TEXT, budget)
    free = sum(chosen.likeliest)
    found = guided_completion(chosen, STORY, budget=budget, input_tokens=7)
    assert found.usage.input_tokens == 7
    assert found.usage.output_tokens == len(chosen.texts) <= budget
    assert found.tokens is not None
    if free == len(chosen.texts):
        assert (found.text, found.finish_reason, found.landed_at) == (TEXT, "stop", None)
    else:
        assert (found.finish_reason, found.landed_at) == ("landing", free)
        assert {token.logprob for token in found.tokens[free:]} == {0.0}
    assert all(token.logprob < 0 for token in found.tokens[:free])


def test_what_the_model_held_the_likeliest_is_no_landing():
    chosen = decoded('{"title":"","tags":[]}', LEAST)
    found = guided_completion(chosen, STORY, budget=LEAST, input_tokens=0)
    assert found.finish_reason == "stop"


@pytest.mark.parametrize(
    ("text", "reason"), [(TEXT, "stop"), (TEXT[:-1], "length"), (TEXT[:9], "length")]
)
def test_an_answer_is_cut_where_something_is_missing(text: str, reason: str):
    letters = [letter.encode() for letter in text]
    count = len(letters)
    chosen = Chosen(texts=letters, logprobs=[0.0] * count, likeliest=[True] * count, cut=True)
    for budget in (count, None):
        found = guided_completion(chosen, STORY, budget=budget, input_tokens=0)
        assert (found.finish_reason, found.landed_at) == (reason, None)
    lark = guided_completion(chosen, Lark("start: /a/"), budget=None, input_tokens=0)
    assert lark.finish_reason == "length"  # nothing is known of where it ends


def test_a_character_that_is_cut_is_left_out():
    chosen = Chosen(texts=[b'{"title":"\xc3'], logprobs=[0.0], likeliest=[True], cut=True)
    assert guided_completion(chosen, STORY, budget=None, input_tokens=0).text == '{"title":"'


def test_the_tokens_after_some():
    chosen = decoded(TEXT, 200).after(10)
    assert b"".join(chosen.texts).decode() == TEXT[10:]
    assert len(chosen.logprobs) == len(chosen.likeliest) == len(TEXT) - 10
