"""AdamW that leaves alone what a step did not use.

Entries whose gradient is exactly zero keep weight and moments.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

BETAS = (0.9, 0.999)
EPS = 1e-8


@dataclass
class AdamW:
    """AdamW (Loshchilov and Hutter, arXiv 1711.05101) over named tensors, lazy in every entry.

    A sub-network's slice of a weight gives the rest a gradient of zero, not none. Plain Adam goes on moving such rows along
    old momentum, and since their second moment decays, a row used in a share p of the steps moves some 1 / sqrt(p) too far;
    weight decay moves them too. Here they stay put, as do the zeros of a sparse weight once their gradient is masked. Where
    no gradient is zero this is torch.optim.AdamW. Bias correction counts the steps that gave the tensor any gradient.
    """

    weights: dict[str, Tensor]
    weight_decay: float = 0.0
    means: dict[str, Tensor] = field(default_factory=dict)
    squares: dict[str, Tensor] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)

    @torch.no_grad()
    def step(self, learning_rate: float) -> None:
        """Update the weights that have a gradient, in place."""
        for name, weight in self.weights.items():
            if weight.grad is None:
                continue
            mean = self.means.setdefault(name, torch.zeros_like(weight))
            square = self.squares.setdefault(name, torch.zeros_like(weight))
            self.counts[name] = count = self.counts.get(name, 0) + 1
            gradient = weight.grad
            used = gradient != 0
            first = torch.where(used, mean.lerp(gradient, 1 - BETAS[0]), mean)
            second = torch.where(used, square.lerp(gradient.square(), 1 - BETAS[1]), square)
            size = (second / (1 - BETAS[1] ** count)).sqrt_().add_(EPS)
            move = (first / (1 - BETAS[0] ** count)).div_(size).add_(weight, alpha=self.weight_decay)
            weight.sub_(move.mul_(used), alpha=learning_rate)
            mean.copy_(first)
            square.copy_(second)

    def zero(self) -> None:
        """Forget the gradients."""
        for weight in self.weights.values():
            weight.grad = None
