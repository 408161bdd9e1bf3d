"""Damped least squares for a linear layer, from sums over tokens. Pure."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass
class Sums:
    """What least squares needs to know of all tokens.

    Inputs h (tokens, in) and residuals r = target - output (tokens, out).
    """

    gram: Tensor  # (in, in), h^T h
    cross: Tensor  # (in, out), h^T r
    squares: float = 0.0  # ||r||^2
    targets: float = 0.0  # ||target||^2

    @classmethod
    def zeros(cls, inputs: int, outputs: int, device: torch.device | str = "cpu") -> Sums:
        empty = torch.zeros(inputs, inputs + outputs, dtype=torch.float64, device=device)
        return cls(empty[:, :inputs].clone(), empty[:, inputs:].clone())

    def add(self, inputs: Tensor, output: Tensor, target: Tensor) -> None:
        """Count the tokens of one batch: inputs (tokens, in), output and target (tokens, out)."""
        residual, inputs = target.float() - output.float(), inputs.float()
        self.gram += inputs.T @ inputs
        self.cross += inputs.T @ residual
        self.squares += float(residual.double().square().sum())
        self.targets += float(target.double().square().sum())

    def left(self, change: Tensor) -> float:
        """Return ||r - h change^T||^2 over all tokens for a change (out, in) of the weight."""
        moved = change.double().T  # (in, out)
        return self.squares - float(2 * (moved * self.cross).sum() - (moved * (self.gram @ moved)).sum())


def solve(gram: Tensor, cross: Tensor, damp: float) -> Tensor:
    """Return the change (out, in) of a weight that solves the damped least squares.

    It minimises ||r - h change^T||^2 + damp * mean(diag(gram)) * ||change||^2.

    gram = h^T h (in, in), cross = h^T r (in, out), r what is missing from the target: a ridge towards the present weight.
    """
    ridge = damp * gram.diagonal().mean()
    if not ridge > 0:
        return torch.zeros_like(cross.T)  # inputs that are always zero decide nothing
    damped = gram + ridge * torch.eye(len(gram), dtype=gram.dtype, device=gram.device)
    return torch.cholesky_solve(cross, torch.linalg.cholesky(damped)).T
