"""How much each layer and each MLP channel matters, measured on calibration tokens."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle
from transformers import PreTrainedModel

from harness import progress
from harness.models.anatomy import ATTENTION_WRITER, MLP_WRITER, layer_shapes, layers, linears
from harness.models.layer_shape import LayerShape


@dataclass(frozen=True)
class Importance:
    """How much the parts of a decoder matter. Influence is the mean of 1 - cos(before, after) over tokens."""

    influence: Tensor  # (layers,) of whole layers
    attention: Tensor  # (layers,) of attention alone
    mlp: Tensor  # (layers,) of the MLP alone
    channels: list[Tensor]  # per layer (width,)
    groups: list[Tensor]  # per layer (key-value groups,)
    stream: Tensor  # (hidden,) of the residual stream's entries


@torch.no_grad()
def measure(model: PreTrainedModel, tokens: Tensor, batch: int = 8) -> Importance:
    """Return importances from one pass over `tokens` (samples, length).

    influence_l: block influence (ShortGPT, arXiv 2403.03853, eq. 1);
    channel_j = sqrt(mean h_j^2) * ||down[:, j]||_2, h the input of down_proj;
    group_g = sqrt(sum over its columns j of mean h_j^2 * ||o[:, j]||_2^2), h the input of o_proj;
    stream_i = sum over layers of mean |x_i|, x the normalised input of attention and MLP (Minitron, arXiv 2407.14679).
    """
    stack, shapes = layers(model), layer_shapes(model)
    seen = _Seen(model, shapes)
    hooks = [hook for index, layer in enumerate(stack) for hook in seen.watch(index, layer)]
    try:
        for chunk in progress.track(tokens.split(batch), "importance"):
            model.get_decoder()(input_ids=chunk.to(model.device), use_cache=False)
    finally:
        for hook in hooks:
            hook.remove()
    count = tokens.numel()
    channels, groups = [], []
    for layer, shape, squares in zip(stack, shapes, seen.squares, strict=True):
        down, out = (_saliency(layer, squares, name, count) for name in (MLP_WRITER, ATTENTION_WRITER))
        channels.append(down.sqrt())
        groups.append(out.unflatten(0, (shape.groups, -1)).sum(1).sqrt() if shape.groups else out)
    influence, attention, mlp = seen.influence / count
    return Importance(influence, attention, mlp, channels, groups, seen.stream / count)


def _saliency(layer: nn.Module, squares: dict[str, Tensor], name: str, count: int) -> Tensor:
    """Return mean h_j^2 * ||W[:, j]||^2 (in,); empty where the layer has no such projection."""
    if name not in squares:
        return torch.zeros(0)
    return squares[name] / count * layer.get_submodule(name).weight.float().square().sum(0)


class _Seen:
    """Running sums of one pass, kept where each layer lives."""

    def __init__(self, model: PreTrainedModel, shapes: list[LayerShape]) -> None:
        self.influence = torch.zeros(3, len(shapes), dtype=torch.float64)  # whole, attention, MLP
        self.squares: list[dict[str, Tensor]] = [{} for _ in shapes]
        self.stream = torch.zeros(model.config.hidden_size)
        self._middle = torch.empty(0)

    def watch(self, index: int, layer: nn.Module) -> Iterator[RemovableHandle]:
        """Yield the hooks that see a layer's input, middle and output, and its projections' inputs.

        The middle is the stream after attention.
        """

        def between(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            self._middle = inputs[0]

        def after(_: nn.Module, inputs: tuple[Tensor, ...], named: dict[str, Tensor], output: Any) -> None:
            before = inputs[0] if inputs else named["hidden_states"]
            end = output[0] if isinstance(output, tuple) else output
            for row, (one, other) in enumerate(((before, end), (before, self._middle), (self._middle, end))):
                similarity = torch.cosine_similarity(one.float(), other.float(), dim=-1)
                self.influence[row, index] += (1 - similarity).double().sum().item()

        yield layer.post_attention_layernorm.register_forward_pre_hook(between)
        yield layer.register_forward_hook(after, with_kwargs=True)
        for name, linear in linears(layer):
            if name in (MLP_WRITER, ATTENTION_WRITER):
                yield linear.register_forward_pre_hook(partial(self._square, index, name))
            elif name in ("mlp.gate_proj", "self_attn.q_proj"):
                yield linear.register_forward_pre_hook(self._flow)

    def _square(self, index: int, name: str, _: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        squares = inputs[0].float().flatten(0, -2).square().sum(0)  # (in,)
        self.squares[index][name] = self.squares[index].get(name, torch.zeros_like(squares)) + squares

    def _flow(self, _: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        self.stream += inputs[0].float().flatten(0, -2).abs().sum(0).cpu()
