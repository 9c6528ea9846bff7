"""The log-probabilities of whole labels after a text, all of its labels together."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from typedllm.tiny.cache import Block
from typedllm.tiny.llama import Llama
from typedllm.tiny.weights import Floats

__all__ = ["score_labels"]


def score_labels(
    llama: Llama, block: Block, row: int, logits: Floats, labels: Sequence[Sequence[int]]
) -> list[float]:
    """Score labels after the text of a row.

    Args:
        llama: the model.
        block: holds the row; it is not changed.
        row: the row's number.
        logits: after its last token, [vocabulary].
        labels: the token ids of each; none is empty.

    Returns:
        The natural logarithm of each label's probability.
    """
    scores = _logprobs(logits[None])[0, [label[0] for label in labels]]
    long = [number for number, label in enumerate(labels) if len(label) > 1]
    if long:
        forks = llama.block()
        for _ in long:
            forks.copy(block, row)
        fed = [np.array(labels[number][:-1]) for number in long]
        counts = np.array([len(part) for part in fed])
        every = np.arange(int(counts.sum()))
        following = np.concatenate([np.array(labels[number][1:]) for number in long])
        after = _logprobs(llama.forward(forks, np.concatenate(fed), counts, every))
        sums = np.add.reduceat(after[every, following], np.cumsum(counts) - counts)
        scores[long] += sums
    return scores.tolist()


def _logprobs(logits: Floats) -> NDArray[np.float64]:
    exact = logits.astype(np.float64)
    exact -= exact.max(axis=1, keepdims=True)
    return exact - np.log(np.exp(exact).sum(axis=1, keepdims=True))
