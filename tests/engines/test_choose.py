"""Choosing tokens: the mask, the probabilities, and the draws."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from typedllm.engines.choose import Chooser, choose
from typedllm.records import Sampling

VOCABULARY = 70  # not a whole number of words


def masks_of(allowed: list[set[int]]) -> np.ndarray:
    bits = np.zeros((len(allowed), 96), np.uint8)
    for row, tokens in enumerate(allowed):
        bits[row, list(tokens)] = 1
    return np.packbits(bits, axis=1, bitorder="little").view(np.int32)


tokens = st.sets(st.integers(0, VOCABULARY - 1), min_size=1)
sampling = st.builds(
    Sampling,
    temperature=st.none() | st.sampled_from([0.0, 0.01, 1.0, 50.0]),
    top_p=st.none() | st.sampled_from([1e-6, 0.5, 1.0]),
    seed=st.integers(0, 5),
)


@given(st.lists(st.tuples(tokens, sampling), min_size=1, max_size=6), st.integers(0, 99))
def test_only_allowed_tokens_with_their_probability_among_them(
    rows: list[tuple[set[int], Sampling]], seed: int
) -> None:
    logits = np.random.default_rng(seed).normal(0, 9, (len(rows), VOCABULARY)).astype(np.float32)
    choosers = [Chooser(one) for _, one in rows]
    found = choose(logits.copy(), masks_of([allowed for allowed, _ in rows]), choosers)
    for (allowed, one), row, token, logprob in zip(rows, logits, *found, strict=True):
        assert token in allowed
        likely = row[sorted(allowed)].astype(float)
        total = np.log(np.exp(likely - likely.max()).sum()) + likely.max()
        assert logprob == pytest.approx(row[token] - total, abs=1e-3)
        if not one.temperature or one.top_p == 1e-6:
            assert row[token] == likely.max()
        if len(allowed) == 1:
            assert logprob == 0


@pytest.mark.parametrize(
    ("temperature", "top_p", "expected"),
    [
        (1.0, None, [0.5, 0.3, 0.15, 0.05]),
        (0.5, None, [0.25 / 0.365, 0.09 / 0.365, 0.0225 / 0.365, 0.0025 / 0.365]),
        (1.0, 0.79, [0.625, 0.375, 0, 0]),
        (1.0, 0.81, [0.5 / 0.95, 0.3 / 0.95, 0.15 / 0.95, 0]),
    ],
)
def test_draws_follow_temperature_and_top_p(
    temperature: float, top_p: float | None, expected: list[float]
) -> None:
    chooser = Chooser(Sampling(temperature=temperature, top_p=top_p, seed=1))
    count = 20_000
    logits = np.log(np.tile(np.array([0.3, 0.5, 0.05, 0.15], np.float32), (count, 1)))
    found, _ = choose(logits, masks_of([{0, 1, 2, 3}]).repeat(count, axis=0), [chooser] * count)
    shares = np.bincount(found, minlength=4)[[1, 0, 3, 2]] / count
    assert shares == pytest.approx(expected, abs=0.015)
    assert all(share == 0 for share, p in zip(shares, expected, strict=True) if p == 0)


def test_a_seed_repeats_its_draws_and_no_seed_does_not() -> None:
    def draws(seed: int | None) -> list[int]:
        chooser = Chooser(Sampling(temperature=1.0, seed=seed))
        flat = np.zeros((20, VOCABULARY), np.float32)
        return choose(flat, masks_of([set(range(VOCABULARY))] * 20), [chooser] * 20)[0]

    assert draws(3) == draws(3) != draws(4)
    assert draws(None) != draws(None)
