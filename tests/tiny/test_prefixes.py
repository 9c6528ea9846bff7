"""Which prompts share what."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from typedllm.tiny.cache import Prefix
from typedllm.tiny.prefixes import Prefixes

NOTHING = np.zeros((0, 0, 0, 0), np.float32)
INSTRUCTION = list(range(100, 160))


class Computed:
    """A store, and the prefixes that it had to compute."""

    def __init__(self) -> None:
        self.lengths: list[int] = []
        self.store = Prefixes(self._compute)

    def _compute(self, tokens: Sequence[int]) -> Prefix:
        self.lengths.append(len(tokens))
        return Prefix(tokens, NOTHING, NOTHING)

    def shared(self, prompt: list[int]) -> int:
        return self.store.share(prompt)[1]


def test_the_second_prompt_shows_what_is_shared_and_it_is_computed_once() -> None:
    computed = Computed()
    found = [computed.shared([*INSTRUCTION, number, number]) for number in range(50)]
    assert found == [0] + [60] * 49
    assert computed.lengths == [60]


def test_the_last_token_is_never_shared() -> None:
    computed = Computed()
    assert [computed.shared(INSTRUCTION) for _ in range(4)] == [0, 59, 59, 59]
    assert computed.shared(INSTRUCTION[:30]) == 29


def test_a_part_of_a_prefix_can_be_shared() -> None:
    computed = Computed()
    for last in (1, 2):
        computed.shared([*INSTRUCTION, last])
    assert computed.shared([*INSTRUCTION[:40], 7, 7, 7]) == 40
    assert computed.lengths == [60]


def test_short_beginnings_are_not_shared() -> None:
    computed = Computed()
    assert [computed.shared([*INSTRUCTION[:15], last]) for last in range(5)] == [0] * 5
    assert computed.lengths == []


def test_a_much_longer_beginning_gets_a_prefix_of_its_own_and_a_little_longer_one_not() -> None:
    computed = Computed()
    for last in (1, 2):
        computed.shared([*INSTRUCTION[:20], last])
    long = [*INSTRUCTION, *range(200, 240)]
    assert [computed.shared([*long, last]) for last in (1, 2, 3)] == [20, 100, 100]
    assert computed.shared([*long, 3, 3]) == 100
    assert computed.lengths == [20, 100]


def test_only_a_few_prefixes_are_kept() -> None:
    computed = Computed()
    kinds = [list(range(1000 * kind, 1000 * kind + 30)) for kind in range(30)]
    for kind in kinds:
        for last in (1, 2):
            computed.shared([*kind, last])
    assert computed.shared([*kinds[-1], 3]) == 30
    assert computed.shared([*kinds[0], 3]) == 0


@given(st.lists(st.lists(st.sampled_from([1, 2]), max_size=40), max_size=12), st.integers(0, 30))
def test_what_is_shared_is_a_beginning(endings: list[list[int]], common: int) -> None:
    store = Prefixes(lambda tokens: Prefix(tokens, NOTHING, NOTHING))
    for ending in endings:
        prompt = [*INSTRUCTION[:common], *ending, 0]
        prefix, shared = store.share(prompt)
        assert 0 <= shared < len(prompt)
        if prefix is None:
            assert shared == 0
        else:
            assert shared >= 16
            assert list(prefix.tokens[:shared]) == prompt[:shared]
