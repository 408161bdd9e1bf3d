"""The parts of a Llama-shaped decoder: layers, attention groups, MLP channels, and how many parameters they hold."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import nn
from transformers import PreTrainedModel

ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj")
MLP = ("gate_proj", "up_proj", "down_proj")


@dataclass(frozen=True)
class LayerShape:
    """Widths of one decoder layer; `groups` counts key-value heads, each with `queries` query heads."""

    hidden: int
    groups: int
    queries: int
    head_dim: int
    width: int
    bias: int = 0  # bias parameters of q, k, v per head_dim unit: Qwen2 has them
    fixed: int = 0  # norms and other parameters that no pruning of this layer changes

    @property
    def group_parameters(self) -> int:
        """Parameters that go with one key-value group: rows of q, k, v, columns of o, and their biases."""
        heads = 2 * self.queries + 2
        return self.head_dim * (heads * self.hidden + self.bias * (self.queries + 2))

    @property
    def channel_parameters(self) -> int:
        """Parameters that go with one MLP channel: a row of gate and up, a column of down."""
        return 3 * self.hidden

    @property
    def parameters(self) -> int:
        return self.groups * self.group_parameters + self.width * self.channel_parameters + self.fixed


def layers(model: PreTrainedModel) -> nn.ModuleList:
    """Return the decoder's layers in order."""
    return model.get_decoder().layers


def linears(layer: nn.Module) -> Iterator[tuple[str, nn.Linear]]:
    """Yield the seven prunable projections of a layer by name."""
    for name in ATTENTION:
        yield f"self_attn.{name}", getattr(layer.self_attn, name)
    for name in MLP:
        yield f"mlp.{name}", getattr(layer.mlp, name)


def layer_shape(layer: nn.Module) -> LayerShape:
    """Return the widths of one layer, read from its weights."""
    attention, mlp = layer.self_attn, layer.mlp
    head_dim = attention.head_dim
    groups = attention.k_proj.out_features // head_dim
    heads = attention.q_proj.out_features // head_dim
    shape = LayerShape(
        hidden=attention.q_proj.in_features,
        groups=groups,
        queries=heads // groups,
        head_dim=head_dim,
        width=mlp.gate_proj.out_features,
        bias=int(attention.q_proj.bias is not None),
    )
    total = sum(parameter.numel() for parameter in layer.parameters())
    return LayerShape(**{**shape.__dict__, "fixed": total - shape.parameters})


def layer_shapes(model: PreTrainedModel) -> list[LayerShape]:
    return [layer_shape(layer) for layer in layers(model)]


def parameter_count(model: nn.Module) -> int:
    """Return the number of parameters, tied ones counted once."""
    return sum(parameter.numel() for parameter in model.parameters())


def outside_parameters(model: PreTrainedModel) -> int:
    """Return the parameters outside the decoder layers: embeddings, final norm, head."""
    return parameter_count(model) - sum(shape.parameters for shape in layer_shapes(model))
