"""One threshold over the key-value groups and MLP channels of all layers, set by the budget. Pure.

It is placed where the budget is met.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from harness.models.layer_shape import LayerShape
from harness.pruning.budget import UNIT
from harness.pruning.extraction import Keep


def best_parts(
    groups: Sequence[Tensor], channels: Sequence[Tensor], *, shapes: Sequence[LayerShape], target: float
) -> list[Keep]:
    """Return what stays of layers of `shapes`, by the scores (groups,) and (width,) of their parts.

    The best parts of all layers that come nearest to `target`, the parameters of all layers together, each at its cost. One
    threshold over both kinds decides on the groups; the channels' own then makes up for what a whole group misses. Each
    layer keeps its best group and its UNIT best channels, whatever they cost.
    """
    heads = torch.cat([_raised(each, 1) for each in groups])
    neurons = torch.cat([_raised(each, UNIT) for each in channels])
    head_costs = _spread([shape.group_parameters for shape in shapes], groups)
    neuron_costs = _spread([shape.channel_parameters for shape in shapes], channels)
    allowance = target - sum(
        (shape.attention_rest if shape.groups else 0) + (shape.mlp_rest if shape.width else 0) for shape in shapes
    )
    both = highest(torch.cat([heads, neurons]), torch.cat([head_costs, neuron_costs]), allowance)
    kept_heads = both[: len(heads)]
    kept_neurons = highest(neurons, neuron_costs, allowance - head_costs[kept_heads].sum().item())
    parts = zip(kept_heads.split([*map(len, groups)]), kept_neurons.split([*map(len, channels)]), strict=True)
    return [
        Keep(index, ours.nonzero().flatten(), theirs.nonzero().flatten()) for index, (ours, theirs) in enumerate(parts)
    ]


def highest(scores: Tensor, costs: Tensor, allowance: float) -> Tensor:
    """Return which (n,), bool, stay.

    The highest scores, as many as cost nearest to `allowance`, and all infinite ones.
    """
    order = scores.argsort(descending=True, stable=True)
    spent = torch.cat([costs.new_zeros(1), costs[order].cumsum(0)])  # (n + 1,)
    spared = scores.isinf()
    spared[order[: int((spent - allowance).abs().argmin())]] = True
    return spared


def _raised(scores: Tensor, count: int) -> Tensor:
    """Return `scores` with the highest `count` raised to infinity."""
    return scores.index_fill(0, scores.topk(min(count, len(scores))).indices, torch.inf)


def _spread(costs: Sequence[int], parts: Sequence[Tensor]) -> Tensor:
    """Return each layer's cost once for each of its parts: (parts of all layers,), float64."""
    return torch.tensor(costs, dtype=torch.float64).repeat_interleave(torch.tensor([*map(len, parts)]))
