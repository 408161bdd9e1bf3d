"""Wanda-sp: whole heads and MLP channels by weights and activations, layer by layer."""

from __future__ import annotations

from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor
from transformers import PreTrainedModel

from harness import progress
from harness.data.calibration import Calibration
from harness.pruning.anatomy import ATTENTION_WRITER, MLP_WRITER, layer_shapes, layers
from harness.pruning.columns import by_group, pruned_columns, writers
from harness.pruning.extraction import extract
from harness.pruning.ratios import keep_best, pruned, solve_ratios
from harness.pruning.walk import input_norms, walk
from harness.spec import Method


class WandaSp(Method):
    """Wanda's |W_ij| * ||X_j||_2 in structured form, as An et al. (FLAP, arXiv 2312.11983) compare with.

    On o_proj and down_proj only, summed over rows: a channel's score is that of its column of down_proj, a head's the sum
    over its columns of o_proj (under grouped queries a whole group's with its query heads). The same ratio in every layer;
    a layer's inputs come from the layers pruned before it.
    """

    NAME = "wanda_sp"
    NEEDS: ClassVar[frozenset[str]] = frozenset({"calibration"})
    SOURCE: ClassVar[str] = "arXiv 2312.11983"
    budget: Annotated[float, Field(gt=0, le=1)]

    @torch.no_grad()
    def compress(self, model: PreTrainedModel, calibration: Calibration) -> PreTrainedModel:
        shapes = layer_shapes(model)
        ratios = solve_ratios(model, self.budget, open_layers=range(len(shapes)), what=self.NAME)
        keeps = []
        for index, layer, feed in progress.track(
            walk(model, calibration.tokens), "pruning layers", total=len(layers(model))
        ):
            norms = input_norms(feed)
            scores = {name: column_scores(linear.weight, norms[name]) for name, linear in writers(layer)}
            none = torch.zeros(0)
            groups = by_group(scores.get(ATTENTION_WRITER, none), shapes[index].groups).sum(1)  # (groups,)
            keep = keep_best(index, pruned(shapes[index], *ratios), groups, scores.get(MLP_WRITER, none))
            gone = pruned_columns(layer, keep)
            for name, linear in writers(layer):
                linear.weight[:, gone[name]] = 0  # the next layer's inputs come from what stays
            keeps.append(keep)
        return extract(model, keeps, release=True)


def column_scores(weight: Tensor, input_norm: Tensor) -> Tensor:
    """Return sum over i of |W_ij| * ||X_j||_2 (in,) of `weight` (out, in), given the norms (in,) of its inputs."""
    return weight.float().abs().sum(0) * input_norm
