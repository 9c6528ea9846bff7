"""Constraints as llguidance runs them, for engines whose token mask is ours."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, cast

import numpy as np
from llguidance import LLMatcher, LLTokenizer
from numpy.typing import NDArray
from tokenizers import Tokenizer

from typedllm.constraints.lark import print_lark
from typedllm.engines.landing import Landing
from typedllm.errors import UnsupportedConstraint, UsageError
from typedllm.grammar.expression import expression
from typedllm.records import Constraint, Grammar, JsonSchema

__all__ = ["Guide", "Vocabulary"]

_COMPILED = 128  # constraints


@dataclass(frozen=True, slots=True)
class Guide:
    """A compiled constraint.

    Attributes:
        matcher: at the beginning of the answer; each row runs a copy.
        landing: closes an answer in time, or None where there is no tree to tell how.
    """

    matcher: LLMatcher
    landing: Landing | None


class Vocabulary:
    """A model's tokens: their bytes, those that end an answer, and constraints over them.

    Attributes:
        texts: the bytes of each token id; empty for special tokens.
        ends: ids of the tokens that end an answer.
        free: the bit mask, [words of 32 bits], of what an answer without constraint may take: all
            tokens with text, and those that end it.
        tokenize: turns bytes into token ids.
    """

    def __init__(self, tokenizer: Tokenizer, size: int, ends: Sequence[int]) -> None:
        """Prepare a tokenizer for masking.

        Args:
            tokenizer: the model's.
            size: number of the model's logits; ids that the tokenizer lacks are never taken.
            ends: ids of the tokens that end an answer, at least one.

        Raises:
            UsageError: when the tokenizer has more entries than the model.
        """
        known = max(tokenizer.get_vocab().values()) + 1
        if known > size:
            raise UsageError(
                f"the tokenizer has ids up to {known - 1} and the model only {size} logits; "
                "they are not of the same model"
            )
        self.ends = frozenset(ends)
        described = _unspoken(tokenizer)
        self._tokenizer = LLTokenizer(described, n_vocab=size, eos_token=list(ends))
        self.texts = [
            b""
            if token >= known or self._tokenizer.is_special_token(token)
            else self._tokenizer.decode_bytes([token])
            for token in range(size)
        ]
        allowed = [bool(text) or token in self.ends for token, text in enumerate(self.texts)]
        bits = np.packbits(np.array(allowed), bitorder="little")
        words = -(-size // 32)
        self.free: NDArray[np.int32] = np.pad(bits, (0, 4 * words - len(bits))).view(np.int32)
        self.tokenize: Callable[[bytes], list[int]] = self._tokenizer.tokenize_bytes
        self._cached = lru_cache(maxsize=_COMPILED)(self._compile)

    def guide(self, constraint: Constraint) -> Guide:
        """Compile a constraint, or find it compiled.

        Args:
            constraint: a `Grammar` or `Lark`.

        Raises:
            UnsupportedConstraint: when llguidance does not take it.
        """
        return self._cached(constraint)

    def _compile(self, constraint: Constraint) -> Guide:
        if isinstance(constraint, JsonSchema):
            raise UnsupportedConstraint(
                "this engine takes a Grammar or Lark, not a JsonSchema; lower the schema first"
            )
        landing = None
        if isinstance(constraint, Grammar):
            text = print_lark(constraint.root)
            landing = Landing(expression(constraint.root), self.tokenize)
        else:
            text = constraint.text
        grammar = LLMatcher.grammar_from_lark(text)
        matcher = LLMatcher(self._tokenizer, grammar, log_level=0)
        if matcher.is_error():
            raise UnsupportedConstraint(f"llguidance refuses the grammar: {matcher.get_error()}")
        return Guide(matcher, landing)


def _unspoken(tokenizer: Tokenizer) -> str:
    """A tokenizer's description in which no text is spelled like one of its special tokens.

    An answer may hold such a text, as a name or a label of the caller's does; it is to be written
    in plain tokens.
    """
    description: dict[str, Any] = json.loads(tokenizer.to_str())
    names: dict[str, str] = {}
    for token in description["added_tokens"]:
        if token["special"]:
            names[token["content"]] = token["content"] = f"\ue000{token['id']}\ue001"
    model = description["model"]
    if isinstance(model["vocab"], dict):
        vocab = cast(dict[str, int], model["vocab"])
        model["vocab"] = {names.get(text, text): number for text, number in vocab.items()}
    else:  # of a unigram model: pieces with their scores
        pieces = cast(list[list[Any]], model["vocab"])
        model["vocab"] = [[names.get(piece, piece), score] for piece, score in pieces]
    unknown = model.get("unk_token")
    if unknown in names:
        model["unk_token"] = names[unknown]
    return json.dumps(description)
