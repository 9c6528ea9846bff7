"""Expressions survive the way to another process."""

from __future__ import annotations

import random
from typing import Literal

import pytest
from hypothesis import given

from tests.constraints.specs import SCALARS, Chain
from tests.constraints.walking import grammar
from tests.grammar.expressions import PAIRS, TEXTS, Pair
from typedllm.grammar.closing import steps
from typedllm.grammar.expression import expression
from typedllm.grammar.regular import derive_all
from typedllm.grammar.wire import dumps, loads


@given(PAIRS, TEXTS)
def test_an_expression_and_its_derivatives_come_back_as_they_were(pair: Pair, text: str):
    for expr in (pair.expr, derive_all(pair.expr, text.encode()[:-1])):
        assert loads(dumps(expr)) is expr


TYPES = [
    *(case.type for case in SCALARS if case.type is not None),
    {"tags": "list[str]", "age": "int | None", "kind": ["a", "é", "🙂"]},
    Chain,
    set[Literal["red", "green", "blue"]],
]


@pytest.mark.parametrize("output_type", TYPES, ids=str)
def test_so_does_what_is_left_of_the_grammar_of_every_type(output_type: object):
    chance = random.Random(0)
    expr = expression(grammar(output_type).root)
    for _ in range(30):
        assert loads(dumps(expr)) is expr
        following = steps(expr)
        if not following:
            break
        expr = chance.choice(following)[1]
