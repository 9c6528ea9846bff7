"""Landing: an answer is closed in time, and only as late as that takes."""

from __future__ import annotations

import random

import hypothesis.strategies as st
import pytest
from hypothesis import given

from tests.constraints.walking import grammar
from typedllm.engines.landing import Landing
from typedllm.grammar.drawing import random_text
from typedllm.grammar.expression import expression
from typedllm.grammar.regular import matches
from typedllm.records import Grammar


def by_bytes(text: bytes) -> list[int]:
    return list(text)


def by_pairs(text: bytes) -> list[int]:
    """A tokenizer of one and two bytes: more bytes are no more tokens."""
    return [int.from_bytes(text[at : at + 2], "big") for at in range(0, len(text), 2)]


def follow(grammar: Grammar, text: bytes, budget: int, size: int) -> tuple[bytes, int]:
    """Feed a text in tokens of a size; the answer, and how many tokens of the text it has."""
    row = Landing(expression(grammar.root), by_bytes).row(budget)
    taken = b""
    for at in range(0, len(text), size):
        token = text[at : at + size]
        if not row.admits(token):
            return taken + bytes(row.land()), at // size
        taken += token
    return taken, -(-len(text) // size)


PERSON = {"name": "str", "tags": "list[str]", "age": "int | None"}
TEXT = '{"name":"Ada \\" Lovelace","tags":["a","🙂"],"age":36}'.encode()


def test_an_answer_with_room_is_left_alone() -> None:
    assert follow(grammar(PERSON), TEXT, len(TEXT), 1)[0] == TEXT
    assert follow(grammar(PERSON), TEXT, 10_000, 7)[0] == TEXT


def test_the_least_budget_holds_the_shortest_answer() -> None:
    landing = Landing(expression(grammar(PERSON).root), by_bytes)
    shortest = b'{"name":"","tags":[],"age":0}'
    assert landing.least_tokens == len(shortest)
    assert bytes(landing.row(landing.least_tokens).land()) == shortest
    assert Landing(expression(grammar(PERSON).root), by_pairs).least_tokens == -(
        -len(shortest) // 2
    )


@pytest.mark.parametrize("budget", range(29, len(TEXT)))
def test_every_smaller_budget_gives_a_valid_answer_that_begins_alike(budget: int) -> None:
    expr = expression(grammar(PERSON).root)
    answer, kept = follow(grammar(PERSON), TEXT, budget, 1)
    assert len(answer) <= budget
    assert matches(expr, answer.decode())
    assert answer[:kept] == TEXT[:kept]
    # Not landed before it had to: with the next byte there was no room left to close.
    following = follow(grammar(PERSON), TEXT[: kept + 1], 10_000, 1)[0]
    assert following == TEXT[: kept + 1]
    row = Landing(expression(grammar(PERSON).root), by_bytes).row(10_000)
    assert all(row.admits(bytes((byte,))) for byte in following)
    assert kept + 1 + len(row.land()) > budget


@given(st.integers(0, 60), st.integers(1, 5), st.integers(0, 10**9))
def test_any_answer_lands_inside_its_budget(extra: int, size: int, seed: int) -> None:
    spec = {
        "when": "datetime",
        "mail": "EmailStr | None",
        "code": r"str(pattern=r'^[A-Z]{2}-\d+$', max_length=12)",
        "more": "dict[str, list[float]]",
    }
    made = grammar(spec)
    text = random_text(made.root, random.Random(seed)).encode()
    budget = Landing(expression(made.root), by_bytes).least_tokens + extra
    answer, kept = follow(made, text, budget, size)
    landed = answer != text
    assert kept + (len(answer) - kept * size if landed else 0) <= budget
    assert matches(expression(made.root), answer.decode())


def test_rows_of_one_landing_do_not_meet() -> None:
    landing = Landing(expression(grammar("list[int]").root), by_bytes)
    first, second = landing.row(100), landing.row(3)
    assert first.admits(b"[12")
    assert second.admits(b"[")
    assert second.admits(b"7")
    assert not second.admits(b"8")
    assert bytes(second.land()) == b"]"
    assert first.admits(b",3")
    assert bytes(first.land()) == b"]"


def test_a_text_outside_the_grammar_cannot_be_closed() -> None:
    row = Landing(expression(grammar("list[int]").root), by_bytes).row(10_000)
    assert row.admits(b"nonsense")  # the mask keeps such tokens out; landing trusts it
    with pytest.raises(ValueError, match="does not match the grammar"):
        row.land()
