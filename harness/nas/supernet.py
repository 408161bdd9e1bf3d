"""Elastic forward passes of one model: views of its weights, no copies, everything put back at the end."""

from __future__ import annotations

from types import TracebackType

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import PreTrainedModel

from harness.nas.space import Architecture
from harness.pruning.anatomy import layers
from harness.pruning.extraction import Keep, extract


class Elastic:
    """Inside the context, `activate(architecture)` makes the model behave as that sub-network; a switch takes microseconds."""

    def __init__(self, model: PreTrainedModel) -> None:
        self.model = model
        self.stack = layers(model)
        self._indices = [layer.self_attn.layer_idx for layer in self.stack]

    def __enter__(self) -> Elastic:
        for layer in self.stack:
            layer.mlp.forward = _Sliced(layer.mlp)  # an instance attribute shadows the method
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._install(range(len(self.stack)))
        for layer in self.stack:
            del layer.mlp.forward

    def activate(self, architecture: Architecture) -> None:
        """Use these widths; layers of width 0 are left out and cache slots renumbered."""
        for layer, width in zip(self.stack, architecture, strict=True):
            layer.mlp.forward.width = width
        self._install([index for index, width in enumerate(architecture) if width])

    def _install(self, kept: list[int] | range) -> None:
        decoder = self.model.get_decoder()
        decoder.layers = (
            self.stack if len(kept) == len(self.stack) else nn.ModuleList(self.stack[index] for index in kept)
        )
        for position, index in enumerate(kept):
            self.stack[index].self_attn.layer_idx = position
        self.model.config.num_hidden_layers = len(kept)


class _Sliced:
    def __init__(self, mlp: nn.Module) -> None:
        self.mlp, self.width = mlp, mlp.gate_proj.out_features

    def __call__(self, hidden: Tensor) -> Tensor:
        gate, up, down, width = self.mlp.gate_proj, self.mlp.up_proj, self.mlp.down_proj, self.width
        opened = self.mlp.act_fn(functional.linear(hidden, gate.weight[:width], _head(gate.bias, width)))
        inner = opened * functional.linear(hidden, up.weight[:width], _head(up.bias, width))
        return functional.linear(inner, down.weight[:, :width], down.bias)


def _head(bias: Tensor | None, width: int) -> Tensor | None:
    return None if bias is None else bias[:width]


@torch.no_grad()
def sort_channels(model: PreTrainedModel, scores: list[Tensor]) -> None:
    """Permute each MLP's channels in place, most important first; the function stays the same up to the order of sums."""
    for layer, score in zip(layers(model), scores, strict=True):
        order = score.argsort(descending=True, stable=True)
        for linear in (layer.mlp.gate_proj, layer.mlp.up_proj):
            linear.weight.copy_(linear.weight[order])
            if linear.bias is not None:
                linear.bias.copy_(linear.bias[order])
        layer.mlp.down_proj.weight.copy_(layer.mlp.down_proj.weight[:, order])


def extracted(model: PreTrainedModel, architecture: Architecture) -> PreTrainedModel:
    """Return the sub-network as a model of its own, with the same outputs."""
    return extract(
        model, [Keep(index, channels=torch.arange(width)) for index, width in enumerate(architecture) if width]
    )
