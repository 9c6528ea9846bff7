"""Whatever the weights say, what a guided engine writes ends in its budget and is valid."""

from __future__ import annotations

import random

import pytest
from tokenizers import Tokenizer

from tests.constraints.specs import Case, drawn
from tests.constraints.walking import POLICIES, Policy, Walker, faults, grammar

# 500 specs in ten chunks; the first is for every run. A class is a unit of work of pytest-xdist.
CHUNKS = [0, *(pytest.param(chunk, marks=pytest.mark.slow) for chunk in range(1, 10))]


def walk_all(walker: Walker, chunk: int, count: int) -> None:
    rng = random.Random(chunk)
    cases = 0

    def check(case: Case, data: object) -> None:
        nonlocal cases
        cases += 1
        for fault in faults(case, walker, rng):
            assert fault is None, fault

    drawn(chunk, count, check)
    assert cases >= count


@pytest.fixture(scope="module")
def byte_level(bpe_tokenizer: Tokenizer) -> Walker:
    return Walker(bpe_tokenizer, "<|end|>")


@pytest.fixture(scope="module")
def sentencepiece(sentencepiece_tokenizer: Tokenizer) -> Walker:
    return Walker(sentencepiece_tokenizer, "</s>")


@pytest.fixture(scope="module")
def smollm2(smollm2_tokenizer: Tokenizer) -> Walker:
    return Walker(smollm2_tokenizer, "<|im_end|>")


class TestByteLevel:
    @pytest.mark.parametrize("chunk", CHUNKS)
    def test_all_walks_are_valid(self, byte_level: Walker, chunk: int) -> None:
        walk_all(byte_level, chunk, 50)

    @pytest.mark.parametrize("policy", POLICIES)
    def test_an_answer_of_the_least_budget_is_the_shortest(
        self, byte_level: Walker, policy: Policy
    ) -> None:
        text, taken, budget = byte_level.walk(grammar(list[int] | None), policy, 0, 1)
        assert (text, taken) == ("[]", budget)


class TestSentencePiece:
    @pytest.mark.parametrize("chunk", CHUNKS)
    def test_all_walks_are_valid(self, sentencepiece: Walker, chunk: int) -> None:
        walk_all(sentencepiece, chunk, 50)


class TestSmolLM2:
    @pytest.mark.slow
    @pytest.mark.parametrize("chunk", range(2))
    def test_all_walks_are_valid(self, smollm2: Walker, chunk: int) -> None:
        walk_all(smollm2, chunk, 25)
