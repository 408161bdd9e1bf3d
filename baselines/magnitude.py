"""Magnitude pruning: zero the smallest weights of each matrix, no data needed."""

from __future__ import annotations

from typing import ClassVar

import torch
from transformers import PreTrainedModel

from harness import progress
from harness.data.calibration import Calibration
from harness.pruning.anatomy import layers, linears
from harness.pruning.unstructured import Unstructured


class Magnitude(Unstructured):
    """Score |W| (Han et al., 2015, arXiv 1506.02626), compared within a layer's matrix as the pruning papers do."""

    NAME = "magnitude"
    SOURCE: ClassVar[str] = "arXiv 1506.02626"

    @torch.no_grad()
    def compress(self, model: PreTrainedModel, calibration: Calibration) -> PreTrainedModel:
        sparsity = self.target(model)
        for layer in progress.track(layers(model), "pruning layers"):
            for _, linear in linears(layer):
                linear.weight.masked_fill_(self.mask(linear.weight.abs().float(), sparsity, per_row=False), 0.0)
        return model
