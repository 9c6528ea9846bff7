"""What llguidance reads of a printed expression is what the expression matches."""

from __future__ import annotations

import random

import hypothesis.strategies as st
from hypothesis import given, settings
from llguidance import LLMatcher, LLTokenizer

from tests.grammar.expressions import ALPHABET, PAIRS, TEXTS, Pair
from typedllm.constraints.lark import print_lark
from typedllm.grammar.closing import shortest
from typedllm.grammar.drawing import random_text
from typedllm.grammar.expression import expression
from typedllm.grammar.pattern import parse_pattern, parse_widely
from typedllm.grammar.regular import Expr, alt, concat, difference, literal, matches, repeat
from typedllm.grammar.tree import Node, Scalar, Text

_BYTES = LLTokenizer("byte")


def engine_takes(root: Node, texts: list[str]) -> list[bool]:
    """Whether llguidance takes each of some texts."""
    matcher = LLMatcher(_BYTES, LLMatcher.grammar_from_lark(print_lark(root)), log_level=0)
    assert not matcher.is_error(), matcher.get_error()
    out: list[bool] = []
    for text in texts:
        copy = matcher.deep_copy()
        tokens = _BYTES.tokenize_bytes(text.encode())
        out.append(copy.try_consume_tokens(tokens) == len(tokens) and copy.is_accepting())
    return out


def agree(root: Node, texts: list[str], rng: random.Random) -> None:
    """Both verdicts are the same on some texts, on drawn ones, and on drawn ones with a change."""
    drawn = [random_text(root, rng) for _ in range(3)]
    for text in drawn:
        place = rng.randrange(len(text) + 1)
        texts = [*texts, text, text[:place] + rng.choice(ALPHABET + "-c1") + text[place + 1 :]]
    expr = expression(root)
    assert all(matches(expr, text) for text in drawn)
    assert engine_takes(root, texts) == [matches(expr, text) for text in texts]


@settings(max_examples=60)
@given(PAIRS, PAIRS, st.lists(TEXTS, max_size=3), st.randoms(use_true_random=False))
def test_differences_at_any_depth(
    one: Pair, other: Pair, texts: list[str], rng: random.Random
) -> None:
    left = difference(one.expr, other.expr)
    for expr in (left, alt(concat(literal("-"), repeat(left, 1, 2)), literal("c"))):
        if shortest(expr) is not None:
            agree(Scalar(expr), texts, rng)


_LOOKING: list[Expr] = [
    parse_pattern(r"^(?=.*[A-Z])(?=.*\d)(?=.*[^A-Za-z0-9]).{8,64}$"),
    parse_pattern(r"^(?!-)(?!.*--)[a-z-]+(?<!-)$"),
    parse_pattern(r"^(?!000|666|9\d\d)\d{3}-(?!00)\d{2}-(?!0000)\d{4}$"),
    parse_pattern(r"(?!^\d+$)^.+$"),
    parse_pattern(r"^((?!foo).)*$"),
    parse_pattern(r"\bab\b"),
    parse_pattern(r"^\p{Lu}(?!\p{N})"),
    difference(parse_pattern("^[a-c-]{1,9}$"), parse_widely("^a|b$|--")),
]


@settings(max_examples=30)
@given(
    st.sampled_from(_LOOKING),
    st.sampled_from([(0, None), (2, 40)]),
    st.randoms(use_true_random=False),
)
def test_look_around_in_a_string(
    pattern: Expr, bounds: tuple[int, int | None], rng: random.Random
) -> None:
    agree(Scalar(pattern), [], rng)
    agree(Text(pattern=pattern, min_length=bounds[0], max_length=bounds[1]), [], rng)
