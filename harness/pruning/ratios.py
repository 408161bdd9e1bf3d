"""The same share of groups and of channels out of each of some layers, solved for the budget."""

from __future__ import annotations

import math
from collections.abc import Container

from torch import Tensor
from transformers import PreTrainedModel

from harness.models.anatomy import layer_shapes, outside_parameters, parameter_count
from harness.models.layer_shape import LayerShape
from harness.pruning.budget import bisect, check_reached
from harness.pruning.extraction import Keep


def solve_ratios(
    model: PreTrainedModel, budget: float, *, open_layers: Container[int], what: str
) -> tuple[float, float]:
    """Return the shares of key-value groups and of MLP channels that `open_layers` lose to meet `budget`.

    The two are equal but for rounding. ValueError when the budget is out of reach.
    """
    shapes, dense, fixed = layer_shapes(model), parameter_count(model), outside_parameters(model)

    def count(groups: float, channels: float) -> int:
        return fixed + sum(
            shape.parameters if index not in open_layers else pruned(shape, groups, channels).parameters
            for index, shape in enumerate(shapes)
        )

    ratio = bisect(lambda each: count(each, each), budget * dense)
    # a layer has few groups, so one ratio for both can step over the budget: the channels then make up for it
    channels = bisect(lambda each: count(ratio, each), budget * dense)
    check_reached(count(ratio, channels), dense, budget, what)
    return ratio, channels


def pruned(shape: LayerShape, group_ratio: float, channel_ratio: float) -> LayerShape:
    """Return the layer after removing shares of its groups (whole ones, rounded down) and of its channels.

    One of each stays.
    """
    groups = min(shape.groups, max(1, shape.groups - math.floor(shape.groups * group_ratio + 1e-9)))
    width = min(shape.width, max(1, shape.width - round(shape.width * channel_ratio)))
    return LayerShape(**{**shape.__dict__, "groups": groups, "width": width})


def keep_best(index: int, shape: LayerShape, groups: Tensor, channels: Tensor) -> Keep:
    """Return the most important groups and channels of a layer, in their old order.

    As many stay as `shape` has.
    """
    return Keep(index, groups=best(groups, shape.groups), channels=best(channels, shape.width))


def best(scores: Tensor, count: int) -> Tensor:
    """Return the places (count,) of the highest of `scores` (n,), ascending."""
    return scores.topk(count).indices.sort().values
