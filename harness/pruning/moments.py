"""Mean and variance over calibration tokens of what o_proj and down_proj receive."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from harness import progress
from harness.models.anatomy import layers
from harness.pruning.column_writers import writers


@dataclass
class Moments:
    """Sums over tokens, float64 so that a variance small beside its mean survives."""

    total: Tensor  # (in,)
    squares: Tensor  # (in,)
    count: int = 0

    @classmethod
    def zeros(cls, linear: nn.Linear) -> Moments:
        empty = torch.zeros(2, linear.in_features, dtype=torch.float64, device=linear.weight.device)
        return cls(*empty)

    def add(self, inputs: Tensor) -> None:
        """Count the tokens of `inputs` (..., in)."""
        flat = inputs.flatten(0, -2).double()  # (tokens, in)
        self.total += flat.sum(0)
        self.squares += flat.square().sum(0)
        self.count += len(flat)

    @property
    def mean(self) -> Tensor:
        """(in,)"""
        return self.total / self.count

    @property
    def variance(self) -> Tensor:
        """(in,), unbiased: over count - 1."""
        return ((self.squares - self.total * self.mean) / (self.count - 1)).clamp(min=0)


@torch.no_grad()
def input_moments(model: PreTrainedModel, tokens: Tensor, batch: int = 8) -> list[dict[str, Moments]]:
    """Return, per layer and writer's name, the moments of the writer's inputs.

    They are taken in one pass of `model` over `tokens` (samples, length).
    """
    by_layer: list[dict[str, Moments]] = []
    hooks = []

    def add(moments: Moments, _: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        moments.add(inputs[0])

    try:
        for layer in layers(model):
            by_layer.append({name: Moments.zeros(linear) for name, linear in writers(layer)})
            hooks += [
                linear.register_forward_pre_hook(partial(add, by_layer[-1][name])) for name, linear in writers(layer)
            ]
        for chunk in progress.track(tokens.split(batch), "input moments"):
            model.get_decoder()(input_ids=chunk.to(model.device), use_cache=False)
    finally:
        for hook in hooks:
            hook.remove()
    return by_layer
