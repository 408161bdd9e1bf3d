"""Wanda: prune by weights and activations, layer by layer."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor
from transformers import PreTrainedModel

from harness import progress
from harness.data.calibration import Calibration
from harness.pruning.anatomy import layers, linears
from harness.pruning.unstructured import Unstructured
from harness.pruning.walk import walk


class Wanda(Unstructured):
    """Score |W_ij| * ||X_j||_2 within each output row; a layer's inputs come from the layers pruned before it.

    Sun et al., arXiv 2306.11695, eq. 1.
    """

    NAME = "wanda"
    NEEDS: ClassVar[frozenset[str]] = frozenset({"calibration"})
    SOURCE: ClassVar[str] = "arXiv 2306.11695"

    def score(self, weight: Tensor, input_norm: Tensor) -> Tensor:
        """Return the importance (out, in) of `weight` (out, in) given the norms (in,) of its inputs."""
        return weight.float().abs() * input_norm

    @torch.no_grad()
    def compress(self, model: PreTrainedModel, calibration: Calibration) -> PreTrainedModel:
        sparsity = self.target(model)
        for _, layer, feed in progress.track(
            walk(model, calibration.tokens), "pruning layers", total=len(layers(model))
        ):
            squares: dict[str, Tensor] = {}

            def observe(name: str, inputs: Tensor, squares: dict[str, Tensor] = squares) -> None:
                squares[name] = squares.get(name, 0) + inputs.float().square().sum(0)  # (in,)

            feed(observe)
            for name, linear in linears(layer):
                linear.weight.masked_fill_(self.mask(self.score(linear.weight, squares[name].sqrt()), sparsity), 0.0)
        return model
