"""Scores labels with a causal model of the transformers library."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

__all__ = ["label_scores"]


@torch.inference_mode()
def label_scores(
    model: Any, prompt: Sequence[int], labels: Sequence[Sequence[int]], *, rows: int
) -> list[float]:
    """Score labels after a prompt.

    Args:
        model: a causal model in evaluation mode.
        prompt: token ids, at least one.
        labels: the token ids of each label; none is empty.
        rows: most labels in one forward pass.

    Returns:
        The natural logarithm of each label's probability.
    """
    scores: list[float] = []
    for start in range(0, len(labels), rows):
        part = labels[start : start + rows]
        width = max(map(len, part))
        # what is filled up with stands on the right, where no token before it looks
        ids = torch.tensor([[*prompt, *label, *[0] * (width - len(label))] for label in part])
        logits = model(input_ids=ids.to(model.device), use_cache=False).logits
        after = logits[:, len(prompt) - 1 : -1].double().log_softmax(-1)
        for row, label in enumerate(part):
            places = torch.arange(len(label))
            chosen = after[row, places.to(after.device), torch.tensor(label).to(after.device)]
            scores.append(chosen.sum().item())
    return scores
