"""The columns of what writes to the residual stream.

A key-value group's in o_proj, an MLP channel's in down_proj.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from harness.models.anatomy import ATTENTION_WRITER, MLP_WRITER, layer_shape, linears
from harness.pruning.extraction import Keep


def writers(layer: nn.Module) -> Iterator[tuple[str, nn.Linear]]:
    """Yield o_proj and down_proj by name, as far as the layer has attention and an MLP."""
    for name, linear in linears(layer):
        if name in (ATTENTION_WRITER, MLP_WRITER):
            yield name, linear


def by_group(columns: Tensor, groups: int) -> Tensor:
    """Return scores of o_proj's columns (groups * queries * head_dim,) as (groups, queries * head_dim)."""
    return columns.reshape(groups, len(columns) // max(groups, 1))


def pruned_columns(layer: nn.Module, keep: Keep) -> dict[str, Tensor]:
    """Return which columns (in,), bool, of each writer go when `keep` is what stays of the layer.

    Under grouped queries a group's columns are those of all its query heads, which lie side by side.
    """
    shape = layer_shape(layer)
    columns = {}
    for name, linear in writers(layer):
        kept, count = (keep.groups, shape.groups) if name == ATTENTION_WRITER else (keep.channels, shape.width)
        gone = torch.ones(count, dtype=torch.bool)
        gone[slice(None) if kept is None else kept.cpu()] = False
        columns[name] = gone.repeat_interleave(linear.in_features // count).to(linear.weight.device)
    return columns
