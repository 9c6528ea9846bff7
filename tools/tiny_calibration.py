"""How far a model's probabilities can be believed, and the temperature that mends them."""

from __future__ import annotations

import math
from collections.abc import Sequence

__all__ = ["at_temperature", "calibration_error", "fitted"]

BINS = 15


def calibration_error(sure: Sequence[float], correct: Sequence[bool]) -> float:
    """Expected calibration error over equal bins (Guo et al. 2017).

    Args:
        sure: the probability of each answer that was chosen.
        correct: whether it was right.
    """
    total = 0.0
    for lower in range(BINS):
        inside = [n for n, p in enumerate(sure) if min(int(p * BINS), BINS - 1) == lower]
        if inside:
            hits = sum(correct[n] for n in inside) / len(inside)
            total += abs(hits - sum(sure[n] for n in inside) / len(inside)) * len(inside)
    return total / len(sure)


def at_temperature(likely: Sequence[float], temperature: float) -> list[float]:
    """A distribution with its logarithms divided by a temperature."""
    weights = [math.exp(math.log(max(p, 1e-30)) / temperature) for p in likely]
    return [weight / sum(weights) for weight in weights]


def fitted(distributions: Sequence[Sequence[float]], truth: Sequence[int]) -> float:
    """The temperature of the least cross-entropy, to a tenth from 0.4 to 5.

    Args:
        distributions: probabilities of the labels, one row an answer.
        truth: the number of the right label of each.
    """

    def loss(temperature: float) -> float:
        return sum(
            -math.log(max(at_temperature(each, temperature)[label], 1e-30))
            for each, label in zip(distributions, truth, strict=True)
        )

    return min((n / 10 for n in range(4, 51)), key=loss)
