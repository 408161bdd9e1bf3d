"""Wanda: prune by weights and activations, layer by layer."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from harness.pruning.no_grad import no_grad
from harness.pruning.unstructured import Layerwise

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

    from harness.data.calibration import Calibration


class Wanda(Layerwise):
    """Score |W_ij| * ||X_j||_2 within each output row.

    A layer's inputs come from the layers pruned before it.

    Sun et al., arXiv 2306.11695, eq. 1.
    """

    NAME = "wanda"
    SOURCE: ClassVar[str] = "arXiv 2306.11695"

    def score(self, weight: Tensor, input_norm: Tensor) -> Tensor:
        """Return the importance (out, in) of `weight` (out, in) given the norms (in,) of its inputs."""
        return weight.float().abs() * input_norm

    @no_grad
    def compress(self, model: PreTrainedModel, calibration: Calibration) -> PreTrainedModel:
        from harness.models.anatomy import linears
        from harness.pruning.walk import input_norms

        for layer, feed, sparsity in self.pruning(model, calibration):
            norms = input_norms(feed)
            for name, linear in linears(layer):
                linear.weight.masked_fill_(self.mask(self.score(linear.weight, norms[name]), sparsity), 0.0)
        return model
