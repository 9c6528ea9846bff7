"""The Muon optimizer in float32, which is what a CPU is quick at.

After Keller Jordan, "Muon: An optimizer for hidden layers in neural networks" (2024). The version
of torch computes in bfloat16, which costs more than the rest of a step on most CPUs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch

__all__ = ["Muon"]


class Muon(torch.optim.Optimizer):
    """Momentum whose steps are made orthogonal, for the matrices of the hidden layers.

    Args:
        matrices: the matrices.
        lr: the learning rate; a step's root mean square is 0.2 of it, as with AdamW.
        momentum: share of the last step that is kept.
        weight_decay: share of a weight that is taken away, times the learning rate.
    """

    def __init__(
        self,
        matrices: Iterable[torch.Tensor],
        *,
        lr: float,
        momentum: float = 0.95,
        weight_decay: float = 0.05,
    ) -> None:
        super().__init__(matrices, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Change the weights by their gradients."""
        for group in self.param_groups:
            for weight in group["params"]:
                state: dict[str, Any] = self.state[weight]
                velocity = state.setdefault("velocity", torch.zeros_like(weight))
                velocity.lerp_(weight.grad, 1 - group["momentum"])
                # Nesterov's momentum looks one step ahead.
                ahead = weight.grad.lerp(velocity, group["momentum"])
                weight.mul_(1 - group["lr"] * group["weight_decay"])
                scale = 0.2 * max(weight.shape) ** 0.5
                weight.add_(_orthogonal(ahead), alpha=-group["lr"] * scale)


def _orthogonal(matrix: torch.Tensor) -> torch.Tensor:
    """Bring all singular values near one, by five steps of a quintic Newton-Schulz iteration."""
    wide = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
    wide = wide / wide.norm().clamp(min=1e-7)
    for _ in range(5):
        gram = wide @ wide.T
        wide = torch.addmm(
            wide, torch.addmm(gram, gram, gram, beta=-4.7750, alpha=2.0315), wide, beta=3.4445
        )
    return wide if matrix.shape[0] <= matrix.shape[1] else wide.T
