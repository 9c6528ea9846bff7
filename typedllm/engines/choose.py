"""Chooses the next token of each row of a batch, all rows at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from typedllm.records import Sampling

__all__ = ["Chooser", "choose"]


class Chooser:
    """How one row chooses: greedily, or by a random generator of its own.

    Attributes:
        temperature: 0 is greedy.
        top_p: the least probability that the candidates have together, in (0, 1].
        random: the row's generator; None for a greedy row.
    """

    def __init__(self, sampling: Sampling) -> None:
        """Make the chooser of a row.

        Args:
            sampling: as the request has it; None for the temperature is greedy.
        """
        self.temperature = sampling.temperature or 0.0
        self.top_p = 1.0 if sampling.top_p is None else sampling.top_p
        self.random = np.random.default_rng(sampling.seed) if self.temperature else None


def choose(
    logits: NDArray[np.float32], masks: NDArray[np.int32], choosers: Sequence[Chooser]
) -> tuple[list[int], list[float]]:
    """Choose a token for each row.

    Args:
        logits: [rows, vocabulary]; overwritten.
        masks: [rows, words of 32 bits], the allowed tokens, lowest bit first.
        choosers: one a row.

    Returns:
        The token ids, and the natural logarithm of the probability that each had at temperature 1
        among the allowed tokens.
    """
    vocabulary = logits.shape[1]
    bits = np.unpackbits(masks.view(np.uint8), axis=1, count=vocabulary, bitorder="little")
    logits[bits == 0] = -np.inf
    rows = np.arange(len(logits))
    tokens = logits.argmax(axis=1)
    logits -= logits[rows, tokens][:, None]
    warm = [row for row, chooser in enumerate(choosers) if chooser.random is not None]
    if warm:
        tokens[warm] = _sample(logits[warm], [choosers[row] for row in warm])
    chosen = logits[rows, tokens]
    np.exp(logits, out=logits)
    logprobs = chosen - np.log(logits.sum(axis=1))
    return tokens.tolist(), logprobs.tolist()


def _sample(logits: NDArray[np.float32], choosers: Sequence[Chooser]) -> NDArray[np.int64]:
    """Draw from logits whose greatest is 0 in each row."""
    heat = np.array([chooser.temperature for chooser in choosers])
    weights = np.exp(logits / heat[:, None])
    for row, chooser in enumerate(choosers):
        if chooser.top_p < 1:
            _keep_nucleus(weights[row], chooser.top_p)
    sums = weights.cumsum(axis=1)
    draws = [chooser.random.random() for chooser in choosers if chooser.random is not None]
    # the first token whose sum passes the draw; equal sums belong to tokens of weight 0
    return (sums > np.array(draws)[:, None] * sums[:, -1:]).argmax(axis=1)


def _keep_nucleus(weights: NDArray[np.float64], top_p: float) -> None:
    """Set all to 0 but the fewest greatest weights that make up `top_p` of the sum.

    Source: nucleus sampling, Holtzman et al. 2019, https://arxiv.org/abs/1904.09751.
    """
    order = weights.argsort()[::-1]
    sums = weights[order].cumsum()
    kept = int((sums < top_p * sums[-1]).sum()) + 1
    weights[order[kept:]] = 0
