"""ShortGPT: drop the layers that change their input least."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field
from torch import Tensor, nn
from transformers import PreTrainedModel

from harness.data.calibration import Calibration
from harness.pruning.anatomy import layer_shape, layer_shapes, layers, parameter_count
from harness.pruning.budget import check_reached
from harness.pruning.extraction import Keep, extract
from harness.pruning.importance import measure
from harness.spec import Method

UNIT = 8  # channels; a width of 1 is legal and breaks quantizers


class ShortGPT(Method):
    """Remove layers in the order of their block influence (Men et al., arXiv 2403.03853) until the budget is met.

    Whole layers rarely meet a budget within half a percent. With `exact` (the default, so that all methods compare at equal
    size) the next layer in the order loses a part: MLP channels, least important first, and key-value groups where those do
    not suffice; `exact=False` is the
    paper's version: whole layers only, the count that comes nearest to the budget.
    """

    NAME = "shortgpt"
    VERSION: ClassVar[int] = 2
    NEEDS: ClassVar[frozenset[str]] = frozenset({"calibration"})
    SOURCE: ClassVar[str] = "arXiv 2403.03853"
    budget: Annotated[float, Field(gt=0, le=1)]
    exact: bool = True

    def compress(self, model: PreTrainedModel, calibration: Calibration) -> PreTrainedModel:
        importance = measure(model, calibration.tokens)
        shapes, dense = layer_shapes(model), parameter_count(model)
        order = importance.influence.argsort(stable=True).tolist()
        surplus = dense * (1 - self.budget)  # parameters still to remove
        dropped: list[int] = []
        while len(dropped) < len(order) - 1 and shapes[order[len(dropped)]].parameters <= surplus:
            dropped.append(order[len(dropped)])
            surplus -= shapes[dropped[-1]].parameters
        following = order[len(dropped)]
        rest = shapes[following].parameters - surplus
        trimmed: dict[int, Keep] = {}
        if rest < min(surplus, dense * 0.0025) or (not self.exact and rest < surplus):
            dropped.append(following)  # one whole layer more comes nearer
        elif self.exact:
            trimmed[following] = trim(layers(model)[following], following, surplus, importance.channels[following])
        keeps = [trimmed.get(index, Keep(index)) for index in range(len(shapes)) if index not in dropped]
        smaller = extract(model, keeps)
        if self.exact:
            check_reached(parameter_count(smaller), dense, self.budget, self.NAME)
        return smaller


def trim(layer: nn.Module, index: int, surplus: float, channel_scores: Tensor) -> Keep:
    """Return what stays of a layer that loses about `surplus` parameters, from as few key-value groups as will do.

    Channels go by `channel_scores` (width,) in multiples of UNIT, groups by the norm of their columns of o_proj.
    """
    shape = layer_shape(layer)
    for groups in range(shape.groups, 0, -1):
        left = surplus - (shape.groups - groups) * shape.group_parameters
        if left <= (shape.width - UNIT) * shape.channel_parameters or groups == 1:
            break
    width = min(shape.width, max(1, round((shape.width - left / shape.channel_parameters) / UNIT)) * UNIT)
    norms = layer.self_attn.o_proj.weight.float().norm(dim=0).unflatten(0, (shape.groups, -1)).norm(dim=1)  # (groups,)
    kept = norms.topk(groups).indices.sort().values
    return Keep(index, groups=kept, channels=channel_scores.topk(width).indices.sort().values)
