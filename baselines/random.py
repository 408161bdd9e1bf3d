"""Random: heads and MLP channels by chance, the control that every score has to beat."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from harness.pruning.scored import Parts, Scored

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from harness.data.calibration import Calibration


class Random(Scored):
    """Remove the same share of key-value groups and of MLP channels in every layer, drawn by chance."""

    NAME = "random"
    SOURCE: ClassVar[str] = "control"
    seed: int = Field(0, description="of the draw; another seed is another row")

    def scores(self, model: PreTrainedModel, calibration: Calibration) -> Iterable[Parts]:
        import torch

        from harness.models.anatomy import layer_shapes

        generator = torch.Generator().manual_seed(self.seed)
        for shape in layer_shapes(model):
            yield Parts(torch.rand(shape.groups, generator=generator), torch.rand(shape.width, generator=generator))
