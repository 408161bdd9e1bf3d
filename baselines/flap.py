"""FLAP: remove heads and channels whose inputs fluctuate least, over all layers at once.

Their means go into biases.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from harness.pruning.no_grad import no_grad
from harness.pruning.scored import Parts, Scored, empty

if TYPE_CHECKING:
    from torch import Tensor, nn
    from transformers import PreTrainedModel

    from harness.data.calibration import Calibration
    from harness.pruning.extraction import Keep
    from harness.pruning.moments import Moments


class Flap(Scored):
    """Fluctuation Var(x_j) * ||W_:j||^2 of the inputs of o_proj and down_proj in the dense model.

    After An et al., arXiv 2312.11983.

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
    compensate: bool = Field(True, description="add what the removed columns wrote on average as biases")

    @property
    def over(self) -> Literal["all layers"]:
        return "all layers"

    @no_grad
    def compress(self, model: PreTrainedModel, calibration: Calibration) -> PreTrainedModel:
        return super().compress(model, calibration)

    def keeps(self, model: PreTrainedModel, calibration: Calibration, dense: int) -> list[Keep]:
        from harness.models.anatomy import layers
        from harness.models.per_layer import add_output_biases
        from harness.pruning.moments import input_moments

        moments = input_moments(model, calibration.tokens)
        if self.compensate:
            add_output_biases(model)  # they cost parameters too
        scores = [standing(layer, seen) for layer, seen in zip(layers(model), moments, strict=True)]
        keeps = self.best_of_all(model, scores, range(len(scores)), dense)
        if self.compensate:
            compensate(model, keeps, moments)
        return keeps


def standing(layer: nn.Module, moments: Mapping[str, Moments]) -> Parts:
    """Return the z-scores of a layer's fluctuations, on the CPU."""
    from harness.models.anatomy import ATTENTION_WRITER, MLP_WRITER, layer_shape
    from harness.pruning.column_writers import writers

    seen = {name: fluctuation(moments[name].variance, linear.weight).cpu() for name, linear in writers(layer)}
    groups = group_scores(seen.get(ATTENTION_WRITER, empty()), layer_shape(layer).groups)
    return Parts(groups, standardized(seen.get(MLP_WRITER, empty())))


def fluctuation(variance: Tensor, weight: Tensor) -> Tensor:
    """Return Var(x_j) * ||W_:j||^2 (in,), float64.

    Given the variance (in,) of the inputs of `weight` (out, in).
    """
    return variance * weight.double().square().sum(0)


def standardized(scores: Tensor) -> Tensor:
    """Return z-scores (n,); all zero where the scores do not differ."""
    import torch

    return (scores - scores.mean()) / scores.std().clamp(min=torch.finfo(scores.dtype).tiny) if len(scores) else scores


def group_scores(columns: Tensor, groups: int) -> Tensor:
    """Return the mean z-score (groups,) of squared fluctuations `columns` (groups * queries * head_dim,)."""
    from harness.pruning.column_writers import by_group

    return by_group(standardized(columns.square()), groups).mean(1)


def compensate(model: PreTrainedModel, keeps: Sequence[Keep], moments: Sequence[Mapping[str, Moments]]) -> None:
    """Add W (mean x * removed) to the biases of o_proj and down_proj, in place; `model` is still whole."""
    from harness.models.anatomy import layers
    from harness.pruning.column_writers import pruned_columns, writers

    for layer, keep, seen in zip(layers(model), keeps, moments, strict=True):
        gone = pruned_columns(layer, keep)
        for name, linear in writers(layer):
            lost = linear.weight.double() @ (seen[name].mean * gone[name])  # (out,)
            linear.bias.copy_(linear.bias + lost)
