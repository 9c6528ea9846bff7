"""Decodes without a model, over llguidance's own mask and the engine's own landing."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator, Sequence
from typing import TypeAlias

import jsonschema_rs
import numpy as np
from llguidance import LLMatcher, LLTokenizer
from pydantic import TypeAdapter
from tokenizers import Tokenizer

from tests.constraints.specs import Case
from typedllm.constraints.compile import Compiled, compile_spec
from typedllm.constraints.lark import print_lark
from typedllm.engines.landing import Landing
from typedllm.grammar.expression import expression
from typedllm.records import Grammar, Limits, Traits
from typedllm.spec.spec import spec_of

TRAITS = Traits(
    name="guided", takes=frozenset({Grammar}), ending="landing", logprobs=False, scores=True
)


def compiled(output_type: object, limits: Limits | None = None) -> Compiled:
    """An output type made ready for an engine that takes grammars."""
    return compile_spec(spec_of(output_type), TRAITS, limits)


def grammar(output_type: object, limits: Limits | None = None) -> Grammar:
    """The grammar of an output type."""
    found = compiled(output_type, limits).constraint
    assert isinstance(found, Grammar)
    return found


Policy: TypeAlias = Callable[[random.Random, Sequence[int], "Walker"], int]


class Walker:
    """A tokenizer made ready for walks."""

    def __init__(self, tokenizer: Tokenizer, end: str) -> None:
        self.end = tokenizer.token_to_id(end)
        size = tokenizer.get_vocab_size()
        self.tokens = LLTokenizer(tokenizer.to_str(), n_vocab=size, eos_token=self.end)
        self.bytes = [self.tokens.decode_bytes([token]) for token in range(size)]

    def tokenize(self, text: bytes) -> list[int]:
        """The ids of some bytes."""
        return self.tokens.tokenize_bytes(text)

    def walk(self, grammar: Grammar, policy: Policy, extra: int, seed: int) -> tuple[str, int, int]:
        """Decode one answer.

        Returns:
            The text, the tokens that it took, and the budget: the least plus `extra`.
        """
        rng = random.Random(seed)
        lark = LLMatcher.grammar_from_lark(print_lark(grammar.root))
        matcher = LLMatcher(self.tokens, lark)
        assert not matcher.is_error(), matcher.get_error()
        landing = Landing(expression(grammar.root), self.tokenize)
        budget = landing.least_tokens + extra
        row = landing.row(budget)
        taken: list[int] = []
        while not matcher.is_stopped():
            if len(taken) == budget:
                assert matcher.is_accepting()
                break
            token = policy(rng, self._allowed(matcher), self)
            if token == self.end:
                break
            if not row.admits(self.bytes[token]):
                taken += row.land()
                break
            taken.append(token)
            assert matcher.consume_token(token), matcher.get_error()
        return b"".join(self.bytes[token] for token in taken).decode(), len(taken), budget

    def _allowed(self, matcher: LLMatcher) -> list[int]:
        bits = np.frombuffer(matcher.compute_bitmask(), dtype=np.uint8)
        found = np.flatnonzero(np.unpackbits(bits, bitorder="little")).tolist()
        assert found, matcher.get_error()
        return found


def uniform(rng: random.Random, allowed: Sequence[int], walker: Walker) -> int:
    """Any allowed token, with equal chance."""
    return rng.choice(allowed)


def longest(rng: random.Random, allowed: Sequence[int], walker: Walker) -> int:
    """The longest token, and the end only when nothing else is allowed."""
    open_ = [token for token in allowed if token != walker.end] or list(allowed)
    most = max(len(walker.bytes[token]) for token in open_)
    return rng.choice([token for token in open_ if len(walker.bytes[token]) == most])


_CLOSERS = frozenset(b'"]},')


def adversary(rng: random.Random, allowed: Sequence[int], walker: Walker) -> int:
    """Single bytes that do not close anything, as long as there are some."""
    open_ = [token for token in allowed if token != walker.end] or list(allowed)
    apart = [token for token in open_ if not _CLOSERS.intersection(walker.bytes[token])] or open_
    least = min(len(walker.bytes[token]) for token in apart)
    return rng.choice([token for token in apart if len(walker.bytes[token]) == least])


POLICIES: tuple[Policy, ...] = (uniform, longest, adversary)

EXTRAS = (0, 1, 3, 10, 40, 200)  # tokens above the least budget


def faults(case: Case, walker: Walker, rng: random.Random) -> Iterator[str | None]:
    """Decode a case once by every policy.

    Args:
        case: the case; nothing is decoded where its plan leaves something to be checked after.
        walker: the tokenizer.
        rng: the source of chance.

    Yields:
        Of each answer, what is wrong with it; None when it ended in its budget and is valid.
    """
    made = compiled(case.type)
    if not made.plan.guaranteed:
        return
    assert isinstance(made.constraint, Grammar)
    adapter = TypeAdapter(case.type)
    schema = jsonschema_rs.validator_for(adapter.json_schema())
    for policy in POLICIES:
        extra, seed = rng.choice(EXTRAS), rng.getrandbits(32)
        place = f"{case.type!r}, {policy.__name__}, {extra=}, {seed=}"
        try:
            text, taken, budget = walker.walk(made.constraint, policy, extra, seed)
            adapter.validate_json(text)
        except Exception as error:  # whatever it is, the case is a fault and the next one counts
            yield f"{place}: {type(error).__name__}: {error}"
            continue
        if taken > budget:
            yield f"{place}: {taken} tokens where {budget} were allowed"
        elif case.schema_decides and not schema.is_valid(json.loads(text)):
            yield f"{place}: not valid for its JSON Schema: {text}"
        else:
            yield None
