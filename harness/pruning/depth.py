"""Drop whole layers in a given order until the budget is met; a part of one more meets it exactly."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from torch import Tensor, nn
from transformers import PreTrainedModel

from harness.models.anatomy import layer_shape, layer_shapes, layers, parameter_count
from harness.pruning.budget import TOLERANCE, UNIT, check_reached
from harness.pruning.extraction import Keep, extract
from harness.pruning.ratios import best

SLACK = 0.0025  # share of the dense parameters that a whole layer may remove too many, rather than a part of it


def drop(
    model: PreTrainedModel,
    order: Sequence[int],
    budget: float,
    *,
    exact: bool,
    channel_scores: Callable[[int], Tensor],
    what: str,
) -> PreTrainedModel:
    """Return `model` without the first layers of `order`, as many as `budget` asks.

    Layers not in `order` stay whole.

    `exact`: the next layer in the order loses what whole layers cannot meet, MLP channels of least `channel_scores(layer)`
    (width,) first, and key-value groups where those do not suffice. Otherwise the count of layers that comes nearest.
    ValueError where `order` ends before the budget is reached.
    """
    shapes, dense = layer_shapes(model), parameter_count(model)
    if not order:
        raise ValueError(f"{what} may drop none of the {len(shapes)} layers of this model")
    sizes = [shapes[index].parameters for index in order]
    count, surplus = leading(sizes, dense * (1 - budget), exact=exact, slack=dense * SLACK)
    trimmed: dict[int, Keep] = {}
    if exact and surplus > 0:
        following = order[count]
        trimmed[following] = trim(layers(model)[following], following, surplus, channel_scores(following))
    dropped = set(order[:count])
    keeps = [trimmed.get(index, Keep(index)) for index in range(len(shapes)) if index not in dropped]
    smaller = extract(model, keeps, release=True)
    tolerance = TOLERANCE if exact else max(sizes) / dense
    check_reached(parameter_count(smaller), dense, budget, what, tolerance)
    return smaller


def ends(depth: int) -> tuple[int, int]:
    """Return how many first and last layers papers spare.

    4 and 2 of LLaMA-7B's 32, the same shares of `depth` rounded up.
    """
    return math.ceil(depth * 4 / 32), math.ceil(depth * 2 / 32)


def leading(sizes: Sequence[int], surplus: float, *, exact: bool, slack: float) -> tuple[int, float]:
    """Return how many of `sizes` go whole to remove `surplus`, and what is then left of it. Pure.

    They go from the first on.

    One more goes, and nothing is left, where that comes nearer: by less than `slack` too much if `exact`.
    """
    count = 0
    while count < len(sizes) - 1 and sizes[count] <= surplus:
        surplus -= sizes[count]
        count += 1
    excess = sizes[count] - surplus
    if excess < min(surplus, slack) or (not exact and excess < surplus):
        return count + 1, 0.0
    return count, surplus


def trim(layer: nn.Module, index: int, surplus: float, channel_scores: Tensor) -> Keep:
    """Return what stays of a layer that loses about `surplus` parameters.

    As few key-value groups are removed as will do.

    Channels go by `channel_scores` (width,) in multiples of UNIT, groups by the norm of their columns of o_proj. Of a layer
    without attention, channels alone; at least UNIT stay.
    """
    shape = layer_shape(layer)
    left = surplus
    for groups in range(shape.groups, 0, -1):
        left = surplus - (shape.groups - groups) * shape.group_parameters
        if left <= (shape.width - UNIT) * shape.channel_parameters or groups == 1:
            break
    width = min(shape.width, max(1, round((shape.width - left / shape.channel_parameters) / UNIT)) * UNIT)
    channels = best(channel_scores, width)
    if not shape.groups:
        return Keep(index, channels=channels)
    norms = layer.self_attn.o_proj.weight.float().norm(dim=0).unflatten(0, (shape.groups, -1)).norm(dim=1)  # (groups,)
    return Keep(index, groups=best(norms, groups), channels=channels)
