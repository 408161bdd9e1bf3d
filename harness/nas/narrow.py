"""Cut a control out of a model.

Rank its parts on calibration tokens, keep the first of each as the control says.
"""

from __future__ import annotations

from collections.abc import Callable

from transformers import PreTrainedModel

from harness.data.calibration import Calibration
from harness.models.anatomy import parameter_count
from harness.nas.architecture import Architecture, Body
from harness.nas.ranking import sort_parts
from harness.nas.supernet import body, extracted
from harness.pruning.budget import check_reached
from harness.pruning.importance import measure


def narrowed(
    model: PreTrainedModel,
    calibration: Calibration,
    control: Callable[[Body, float], Architecture],
    budget: float,
    name: str,
) -> PreTrainedModel:
    """Return the sub-network that `control` names at `budget` of the parameters.

    ValueError where none comes near.
    """
    importance = measure(model, calibration.tokens)
    sort_parts(model, importance)
    shape = body(model, (importance.influence[1:-1].argsort(stable=True) + 1).tolist())
    smaller = extracted(model, control(shape, budget * shape.dense), release=True)
    check_reached(parameter_count(smaller), shape.dense, budget, name)
    return smaller
