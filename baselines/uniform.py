"""The control without a search: one MLP width in all layers, the least important channels go."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from harness.spec import BUDGET, Method

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from harness.data.calibration import Calibration


class Uniform(Method):
    """Keep the same share of channels in every layer, ranked by activation times weight.

    See `harness.pruning.importance`.
    """

    NAME = "uniform"
    NEEDS: ClassVar[frozenset[str]] = frozenset({"calibration"})
    SOURCE: ClassVar[str] = "control"
    budget: float = BUDGET

    def compress(self, model: PreTrainedModel, calibration: Calibration) -> PreTrainedModel:
        from harness.nas.controls import uniform
        from harness.nas.narrow import narrowed

        return narrowed(model, calibration, uniform, self.budget, self.NAME)
