"""The shared tokenizers are what the other tests take them for."""

from __future__ import annotations

import llguidance
import pytest
from tokenizers import Tokenizer

TOKENIZERS = [
    ("bpe_tokenizer", "<|end|>"),
    ("sentencepiece_tokenizer", "</s>"),
    ("smollm2_tokenizer", "<|im_end|>"),
]


@pytest.mark.parametrize(("name", "end"), TOKENIZERS)
def test_text_survives(name: str, end: str, request: pytest.FixtureRequest) -> None:
    tokenizer: Tokenizer = request.getfixturevalue(name)
    text = '{"name": "Ada", "note": "naïve 京都 🙂"}'
    assert tokenizer.decode(tokenizer.encode(text, add_special_tokens=False).ids) == text
    assert tokenizer.token_to_id(end) is not None


@pytest.mark.parametrize(("name", "end"), TOKENIZERS)
def test_llguidance_masks_with_it(name: str, end: str, request: pytest.FixtureRequest) -> None:
    tokenizer: Tokenizer = request.getfixturevalue(name)
    guide = llguidance.LLTokenizer(tokenizer.to_str(), eos_token=tokenizer.token_to_id(end))
    assert guide.vocab_size == tokenizer.get_vocab_size()
    grammar = llguidance.LLMatcher.grammar_from_regex(r'\{"a":[0-9]\}')
    matcher = llguidance.LLMatcher(guide, grammar)
    matcher.consume_tokens(guide.tokenize_str('{"a":7}'))
    assert not matcher.is_error(), matcher.get_error()
    assert matcher.is_accepting()
