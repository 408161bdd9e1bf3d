"""Permute a model's parts in place, most important first.

Then a sub-network is a view of the first of each.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from harness.models.anatomy import has_attention, has_mlp, layer_shapes, layers, linears, norms
from harness.nas.supernet import COLUMNS
from harness.pruning.importance import Importance


@torch.no_grad()
def sort_parts(model: PreTrainedModel, importance: Importance, *, stream: bool = False) -> None:
    """Permute channels, key-value groups and, if asked, the residual stream in place.

    The most important come first.

    The function stays the same up to the order of sums.
    """
    for layer, shape, channels, groups in zip(
        layers(model), layer_shapes(model), importance.channels, importance.groups, strict=True
    ):
        if has_mlp(layer):
            order = channels.argsort(descending=True, stable=True).cpu()
            for name, dim in (("gate_proj", 0), ("up_proj", 0), ("down_proj", 1)):
                _permute(getattr(layer.mlp, name), order, dim)
        if has_attention(layer):
            order = groups.argsort(descending=True, stable=True).cpu()
            keys = (order[:, None] * shape.head_dim + torch.arange(shape.head_dim)).flatten()
            unit = shape.head_dim * shape.queries
            queries = (order[:, None] * unit + torch.arange(unit)).flatten()
            for name, entries, dim in (
                ("q_proj", queries, 0),
                ("k_proj", keys, 0),
                ("v_proj", keys, 0),
                ("o_proj", queries, 1),
            ):
                _permute(getattr(layer.self_attn, name), entries, dim)
    if stream:
        _permute_stream(model, importance.stream.argsort(descending=True, stable=True).cpu())


def _permute_stream(model: PreTrainedModel, order: Tensor) -> None:
    embeddings, head = model.get_input_embeddings(), model.get_output_embeddings()
    for weight in {id(module.weight): module.weight for module in (embeddings, head)}.values():
        weight.copy_(weight[:, order])
    permuted = [model.get_decoder().norm]
    for layer in layers(model):
        permuted += norms(layer)
        for name, linear in linears(layer):
            _permute(linear, order, 0 if name.split(".")[1] in COLUMNS else 1)
    for norm in permuted:
        norm.weight.copy_(norm.weight[order])


def _permute(linear: nn.Module, order: Tensor, dim: int) -> None:
    linear.weight.copy_(linear.weight.index_select(dim, order.to(linear.weight.device)))
    if dim == 0 and linear.bias is not None:
        linear.bias.copy_(linear.bias[order])
