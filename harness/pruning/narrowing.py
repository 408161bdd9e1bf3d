"""One decoder layer with a part of its groups and channels, to be run in the place of the whole one."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from harness.models.anatomy import layer_shape
from harness.models.per_layer import AbsentAttention, AbsentMLP
from harness.pruning.extraction import Keep


@torch.no_grad()
def narrowed(layer: nn.Module, keep: Keep) -> nn.Module:
    """Return a layer of what `keep` names, that computes what `extract` would build.

    Weights that stay whole are shared.
    """
    shape = layer_shape(layer)
    smaller = copy.deepcopy(layer, {id(weight): weight for weight in layer.parameters()})
    attention, mlp = smaller.self_attn, smaller.mlp
    if keep.groups is not None and len(keep.groups) < shape.groups:
        keys, queries = (_entries(keep.groups, size) for size in (shape.head_dim, shape.head_dim * shape.queries))
        if len(keep.groups):
            _select((attention.q_proj, 0, queries), (attention.k_proj, 0, keys))
            _select((attention.v_proj, 0, keys), (attention.o_proj, 1, queries))
        else:
            smaller.self_attn, smaller.input_layernorm = AbsentAttention(), nn.Identity()
    if keep.channels is not None and len(keep.channels) < shape.width:
        if len(keep.channels):
            _select(*((linear, 0, keep.channels) for linear in (mlp.gate_proj, mlp.up_proj)))
            _select((mlp.down_proj, 1, keep.channels))
        else:
            smaller.mlp, smaller.post_attention_layernorm = AbsentMLP(), nn.Identity()
    return smaller


def _entries(groups: Tensor, size: int) -> Tensor:
    """Return the rows (groups * size,) of whole groups of `size` rows."""
    return (groups[:, None] * size + torch.arange(size, device=groups.device)).flatten()


def _select(*choices: tuple[nn.Linear, int, Tensor]) -> None:
    """Keep of each projection the rows (dimension 0) or columns (1) named."""
    for linear, dim, kept in choices:
        kept = kept.to(linear.weight.device)
        linear.weight = nn.Parameter(linear.weight.index_select(dim, kept), requires_grad=False)
        linear.out_features, linear.in_features = linear.weight.shape
        if dim == 0 and linear.bias is not None:
            linear.bias = nn.Parameter(linear.bias[kept], requires_grad=False)
