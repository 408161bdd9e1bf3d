"""The parts of a Llama-shaped decoder.

Layers, attention groups, MLP channels, and how many parameters they hold.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from harness.models.layer_shape import LayerShape
from harness.models.per_layer import Absent

ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj")
MLP = ("gate_proj", "up_proj", "down_proj")
ATTENTION_WRITER, MLP_WRITER = "self_attn.o_proj", "mlp.down_proj"  # what writes to the residual stream

QUANTIZATION = ("weight_scale", "weight_zero_point", "weight_g_idx", "weight_shape", "input_scale", "input_zero_point")


def layers(model: PreTrainedModel) -> nn.ModuleList:
    """Return the decoder's layers in order."""
    return model.get_decoder().layers


def has_attention(layer: nn.Module) -> bool:
    """Return False for a layer whose attention was removed."""
    return not isinstance(layer.self_attn, Absent)


def has_mlp(layer: nn.Module) -> bool:
    """Return False for a layer whose MLP was removed."""
    return not isinstance(layer.mlp, Absent)


def linears(layer: nn.Module) -> Iterator[tuple[str, nn.Linear]]:
    """Yield the prunable projections of a layer by name: seven, fewer where attention or MLP were removed."""
    for name in ATTENTION if has_attention(layer) else ():
        yield f"self_attn.{name}", getattr(layer.self_attn, name)
    for name in MLP if has_mlp(layer) else ():
        yield f"mlp.{name}", getattr(layer.mlp, name)


def norms(layer: nn.Module) -> list[nn.Module]:
    """Return the norms of a layer that still norm something."""
    return [layer.input_layernorm] * has_attention(layer) + [layer.post_attention_layernorm] * has_mlp(layer)


def layer_shape(layer: nn.Module) -> LayerShape:
    """Return the widths of one layer, read from its weights."""
    attention, mlp = layer.self_attn, layer.mlp
    sizes: dict[str, int] = {"hidden": 0, "groups": 0, "queries": 1, "head_dim": 0, "width": 0}
    if has_attention(layer):
        groups = attention.k_proj.out_features // attention.head_dim
        heads = attention.q_proj.out_features // attention.head_dim
        sizes |= {"hidden": attention.q_proj.in_features, "head_dim": attention.head_dim, "groups": groups}
        sizes |= {"queries": heads // groups, "bias": int(attention.q_proj.bias is not None)}
        vectors = 1 + int(attention.o_proj.bias is not None)
        norms = sum(weight.numel() for name, weight in attention.named_parameters() if "_proj" not in name)
        sizes |= {"attention_vectors": vectors, "attention_fixed": norms}
    if has_mlp(layer):
        sizes |= {"hidden": mlp.gate_proj.in_features, "width": mlp.gate_proj.out_features}
        sizes |= {"mlp_bias": int(mlp.gate_proj.bias is not None)}
        sizes |= {"mlp_vectors": 1 + int(mlp.down_proj.bias is not None)}
    return LayerShape(**sizes)


def layer_shapes(model: PreTrainedModel) -> list[LayerShape]:
    return [layer_shape(layer) for layer in layers(model)]


def counted(model: nn.Module) -> Iterator[nn.Parameter]:
    """Yield the parameters, tied ones once, without the scales and zero points of quantized ones."""
    for name, parameter in model.named_parameters():
        if not name.endswith(QUANTIZATION):
            yield parameter


def parameter_count(model: nn.Module) -> int:
    """Return the number of parameters, tied ones counted once."""
    return sum(shape_of(parameter).numel() for parameter in counted(model))


def four_bit(weight: Tensor) -> bool:
    """Tell whether bitsandbytes holds a weight in 4 bits, two a byte."""
    return getattr(weight, "quant_state", None) is not None


def shape_of(weight: Any) -> torch.Size:
    """Return the shape of the weights that a parameter stands for, whatever it packs them into."""
    shape: torch.Size = weight.quant_state.shape if four_bit(weight) else weight.shape
    return shape


def outside_parameters(model: PreTrainedModel) -> int:
    """Return the parameters outside the decoder layers: embeddings, final norm, head."""
    return parameter_count(model) - sum(shape.parameters for shape in layer_shapes(model))
