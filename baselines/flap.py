"""FLAP: remove heads and channels whose inputs fluctuate least, over all layers at once, and put their means into biases."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor
from transformers import PreTrainedModel

from harness.data.calibration import Calibration
from harness.models.per_layer import add_output_biases
from harness.pruning.anatomy import (
    ATTENTION_WRITER,
    MLP_WRITER,
    layer_shapes,
    layers,
    outside_parameters,
    parameter_count,
)
from harness.pruning.budget import check_reached
from harness.pruning.columns import by_group, pruned_columns, writers
from harness.pruning.extraction import Keep, extract
from harness.pruning.moments import Moments, input_moments
from harness.pruning.threshold import best_parts
from harness.spec import Method

EMPTY = torch.zeros(0)  # scores of an attention or MLP that is not there


class Flap(Method):
    """Fluctuation Var(x_j) * ||W_:j||^2 of the inputs of o_proj and down_proj in the dense model (An et al., arXiv 2312.11983).

    Scores of o_proj are squared once more, as the authors' code does; z-scores within a layer, a head's the mean of its
    columns' (under grouped queries a whole group's with its G query heads); then one threshold over all layers' heads and
    channels, a group costing (2 G + 2) head_dim / 3 channels (4 head_dim / 3 without grouping). Every layer keeps a group
    and a few channels. With `compensate`, what the removed columns wrote on average, W (mean x * removed), is added to
    o_proj and down_proj as biases, which count as parameters: every layer gets both, and the model is of the per-layer
    class with `output_bias` in its configuration.
    """

    NAME = "flap"
    NEEDS: ClassVar[frozenset[str]] = frozenset({"calibration"})
    SOURCE: ClassVar[str] = "arXiv 2312.11983"
    budget: Annotated[float, Field(gt=0, le=1)]
    compensate: bool = True

    @torch.no_grad()
    def compress(self, model: PreTrainedModel, calibration: Calibration) -> PreTrainedModel:
        dense = parameter_count(model)
        moments = input_moments(model, calibration.tokens)
        if self.compensate:
            add_output_biases(model)
        shapes = layer_shapes(model)  # with the biases that they cost
        scores = [
            (group_scores(seen.get(ATTENTION_WRITER, EMPTY), shape.groups), standardized(seen.get(MLP_WRITER, EMPTY)))
            for seen, shape in zip(fluctuations(model, moments), shapes, strict=True)
        ]
        target = self.budget * dense - outside_parameters(model)
        keeps = best_parts([heads for heads, _ in scores], [each for _, each in scores], shapes=shapes, target=target)
        if self.compensate:
            compensate(model, keeps, moments)
        smaller = extract(model, keeps, release=True)
        check_reached(parameter_count(smaller), dense, self.budget, self.NAME)
        return smaller


def fluctuations(model: PreTrainedModel, moments: Sequence[dict[str, Moments]]) -> list[dict[str, Tensor]]:
    """Return per layer and writer's name the fluctuation (in,), on the CPU."""
    return [
        {name: fluctuation(seen[name].variance, linear.weight).cpu() for name, linear in writers(layer)}
        for layer, seen in zip(layers(model), moments, strict=True)
    ]


def fluctuation(variance: Tensor, weight: Tensor) -> Tensor:
    """Return Var(x_j) * ||W_:j||^2 (in,), float64, given the variance (in,) of the inputs of `weight` (out, in)."""
    return variance * weight.double().square().sum(0)


def standardized(scores: Tensor) -> Tensor:
    """Return z-scores (n,); all zero where the scores do not differ."""
    return (scores - scores.mean()) / scores.std().clamp(min=torch.finfo(scores.dtype).tiny) if len(scores) else scores


def group_scores(columns: Tensor, groups: int) -> Tensor:
    """Return the mean z-score (groups,) of squared fluctuations `columns` (groups * queries * head_dim,)."""
    return by_group(standardized(columns.square()), groups).mean(1)


def compensate(model: PreTrainedModel, keeps: Sequence[Keep], moments: Sequence[dict[str, Moments]]) -> None:
    """Add W (mean x * removed) to the biases of o_proj and down_proj, in place; `model` is still whole."""
    for layer, keep, seen in zip(layers(model), keeps, moments, strict=True):
        gone = pruned_columns(layer, keep)
        for name, linear in writers(layer):
            lost = linear.weight.double() @ (seen[name].mean * gone[name])  # (out,)
            linear.bias.copy_(linear.bias + lost)
