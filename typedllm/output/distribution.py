"""From the log-probabilities of labels to how likely each of them is."""

from __future__ import annotations

import math
from collections.abc import Sequence

__all__ = ["distribution"]


def distribution(scores: Sequence[float], temperature: float) -> tuple[float, ...]:
    """Return probabilities over labels: the softmax of their log-probabilities.

    Args:
        scores: natural logarithms, one a label, not all minus infinity.
        temperature: what they are divided by first; 1 leaves them as they are. One that was fitted
            makes them calibrated (Guo et al., "On Calibration of Modern Neural Networks", 2017).

    Returns:
        Probabilities in [0, 1], whose sum is 1.
    """
    scaled = [score / temperature for score in scores]
    top = max(scaled)
    weights = [math.exp(score - top) for score in scaled]
    total = math.fsum(weights)
    return tuple(weight / total for weight in weights)
