"""The control without a search that is hard to beat.

One MLP width in the middle layers, whole layers around them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from harness.spec import BUDGET, Method

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from harness.data.calibration import Calibration


class Middle(Method):
    """Keep the first 4 and last 2 of 30 layers whole and narrow those between alike.

    Of other depths the same shares stay whole.
    """

    NAME = "middle"
    NEEDS: ClassVar[frozenset[str]] = frozenset({"calibration"})
    SOURCE: ClassVar[str] = "control"
    budget: float = BUDGET

    def compress(self, model: PreTrainedModel, calibration: Calibration) -> PreTrainedModel:
        from harness.nas.controls import middle
        from harness.nas.narrow import narrowed

        return narrowed(model, calibration, middle, self.budget, self.NAME)
