"""Whatever is valid can be written, and the engine's grammar is the one that landing follows."""

from __future__ import annotations

import random

import hypothesis.strategies as st
import pytest
from llguidance import LLMatcher, LLTokenizer
from tokenizers import Tokenizer

from tests.constraints.specs import Case, canonical, drawn
from tests.constraints.test_walks import CHUNKS
from tests.constraints.walking import compiled, grammar
from typedllm.constraints.lark import print_lark, regex
from typedllm.grammar.expression import expression
from typedllm.grammar.regular import ANY, NOTHING, both, distinct, literal, matches
from typedllm.grammar.tree import Node

_BYTES = LLTokenizer("byte")
_STRANGE = '"\\\n\x00\x1f\x7f é\u2028\u2029🙂/{}[]:,0.-\t'


def loaded(root: Node, tokenizer: LLTokenizer = _BYTES) -> LLMatcher:
    """A tree as llguidance runs it."""
    matcher = LLMatcher(tokenizer, LLMatcher.grammar_from_lark(print_lark(root)), log_level=0)
    assert not matcher.is_error(), matcher.get_error()
    return matcher


def takes(matcher: LLMatcher, text: str, tokenizer: LLTokenizer = _BYTES) -> bool:
    """Whether llguidance takes a whole text."""
    copy = matcher.deep_copy()
    tokens = tokenizer.tokenize_bytes(text.encode())
    return copy.try_consume_tokens(tokens) == len(tokens) and copy.is_accepting()


def engine_accepts(root: Node, text: str) -> bool:
    """Whether llguidance takes a whole text for a tree."""
    return takes(loaded(root), text)


def mutated(text: str, rng: random.Random) -> str:
    """A text with one character left out, put in or replaced."""
    place = rng.randrange(len(text) + 1)
    char = rng.choice(_STRANGE + text)
    return rng.choice(
        [
            text[:place] + text[place + 1 :],
            text[:place] + char + text[place:],
            text[:place] + char + text[place + 1 :],
        ]
    )


@pytest.mark.parametrize("chunk", CHUNKS)
def test_every_valid_value_can_be_written(bpe_tokenizer: Tokenizer, chunk: int) -> None:
    end = bpe_tokenizer.token_to_id("<|end|>")
    tokenizer = LLTokenizer(bpe_tokenizer.to_str(), eos_token=end)

    def check(case: Case, data: st.DataObject) -> None:
        root = grammar(case.type).root
        text = canonical(data.draw(case.values))
        assert matches(expression(root), text), (case.type, text)
        assert takes(loaded(root, tokenizer), text, tokenizer), (case.type, text)

    drawn(100 + chunk, 50, check)


@pytest.mark.parametrize("chunk", CHUNKS)
def test_the_printed_grammar_and_the_expression_agree(chunk: int) -> None:
    rng = random.Random(chunk)

    def check(case: Case, data: st.DataObject) -> None:
        root = grammar(case.type).root
        matcher, expr = loaded(root), expression(root)
        text = canonical(data.draw(case.values))
        for _ in range(8):
            changed = mutated(text, rng)
            verdict = matches(expr, changed)
            assert takes(matcher, changed) == verdict, (case.type, changed, verdict)

    drawn(200 + chunk, 50, check)


@pytest.mark.parametrize(
    "text", ['"', "\\", "\n\t\r\b\f", "\x00\x1f\x7f", "é京🙂", "\u2028\u2029", "</script>", ""]
)
def test_text_that_needs_care_can_be_written(text: str) -> None:
    root = grammar({"note": "str", "few": "str(max_length=5)", "any": ["a", text + "b"]}).root
    written = canonical({"note": text, "few": text[:5], "any": text + "b"})
    assert matches(expression(root), written)
    assert engine_accepts(root, written)


@pytest.mark.parametrize("written", [r'"\u00e9"', r'"\/"', r'"\u000A"', r'"\u000a"', '"\n"', '" '])
def test_what_is_not_canonical_is_not_written(written: str) -> None:
    root = grammar("str(max_length=9)").root
    assert not matches(expression(root), written)
    assert not engine_accepts(root, written)


def test_a_plan_of_any_drawn_spec_can_be_read() -> None:
    def check(case: Case, data: object) -> None:
        plan = compiled(case.type).plan
        assert plan.guaranteed, (case.type, str(plan))
        assert str(plan).startswith("engine: guided\nby construction: ")

    drawn(300, 50, check)


def test_only_what_is_regular_is_printed_as_a_regular_expression() -> None:
    for expr in (NOTHING, both(ANY, literal("a")), distinct(["a"], ",", 1, 1)):
        with pytest.raises(TypeError, match="has no regular expression of its own"):
            regex(expr)
