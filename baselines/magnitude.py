"""Magnitude pruning: zero the smallest weights of each matrix, no data needed."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from harness import progress
from harness.pruning.no_grad import no_grad
from harness.pruning.unstructured import Unstructured

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from harness.data.calibration import Calibration


class Magnitude(Unstructured):
    """Score |W|, compared within a layer's matrix as the pruning papers do.

    After Han et al., 2015, arXiv 1506.02626.
    """

    NAME = "magnitude"
    SOURCE: ClassVar[str] = "arXiv 1506.02626"

    @no_grad
    def compress(self, model: PreTrainedModel, calibration: Calibration) -> PreTrainedModel:
        from harness.models.anatomy import layers, linears

        sparsity = self.target(model)
        for layer in progress.track(layers(model), "pruning layers"):
            for _, linear in linears(layer):
                linear.weight.masked_fill_(self.mask(linear.weight.abs().float(), sparsity, per_row=False), 0.0)
        return model
