"""The control without a search that is hard to beat: one MLP width in the middle layers, whole layers around them."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field
from transformers import PreTrainedModel

from harness.data.calibration import Calibration
from harness.nas.controls import middle
from harness.nas.narrow import narrowed
from harness.spec import Method


class Middle(Method):
    """Keep the first 4 and last 2 of 30 layers whole (the same shares of other depths) and narrow those between alike."""

    NAME = "middle"
    NEEDS: ClassVar[frozenset[str]] = frozenset({"calibration"})
    SOURCE: ClassVar[str] = "control"
    budget: Annotated[float, Field(gt=0, le=1)]

    def compress(self, model: PreTrainedModel, calibration: Calibration) -> PreTrainedModel:
        return narrowed(model, calibration, middle, self.budget, self.NAME)
