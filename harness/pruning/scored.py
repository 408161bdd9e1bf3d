"""What methods share that remove key-value groups and MLP channels by their scores.

What stays, extraction, the check.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Literal, NamedTuple

from harness.pruning.budget import check_reached
from harness.spec import BUDGET, Method

if TYPE_CHECKING:
    from torch import Tensor, nn
    from transformers import PreTrainedModel

    from harness.data.calibration import Calibration
    from harness.pruning.extraction import Keep


class Parts(NamedTuple):
    """Scores of a layer's key-value groups (groups,) and MLP channels (width,); empty where it has none."""

    groups: Tensor
    channels: Tensor


class Scored(Method):
    """Remove what scores least, to meet the budget.

    The same shares of each layer, or one threshold over all of them.

    A method gives `score(layer)`, from weights alone, or `scores(model, calibration)`, layer after layer. Everything else
    is here: widths, choice, extraction, the check of the budget.
    """

    budget: float = BUDGET

    @property
    def over(self) -> Literal["each layer", "all layers"]:
        """What scores are compared over: parts of one layer, or of all layers together."""
        return "each layer"

    def score(self, layer: nn.Module) -> Parts:
        """Return the scores of a layer's parts; the highest stay."""
        raise NotImplementedError

    def scores(self, model: PreTrainedModel, calibration: Calibration) -> Iterable[Parts]:
        """Return the scores of every layer, from the first on."""
        from harness.models.anatomy import layers

        return map(self.score, layers(model))

    def open_layers(self, depth: int) -> range:
        """Return the layers that may lose parts."""
        return range(depth)

    def compress(self, model: PreTrainedModel, calibration: Calibration) -> PreTrainedModel:
        from harness.models.anatomy import parameter_count
        from harness.pruning.extraction import extract

        dense = parameter_count(model)
        smaller = extract(model, self.keeps(model, calibration, dense), release=True)
        check_reached(parameter_count(smaller), dense, self.budget, self.NAME)
        return smaller

    def keeps(self, model: PreTrainedModel, calibration: Calibration, dense: int) -> list[Keep]:
        """Return what stays of each layer of a model of `dense` parameters."""
        from harness.models.anatomy import layers
        from harness.pruning.ratios import solve_ratios

        allowed = self.open_layers(len(layers(model)))
        solve_ratios(model, self.budget, open_layers=allowed, what=self.NAME)  # is it in reach? before any score
        if self.over == "each layer":
            return self.best_of_each(model, self.scores(model, calibration), allowed)
        return self.best_of_all(model, list(self.scores(model, calibration)), allowed, dense)

    def best_of_each(self, model: PreTrainedModel, scores: Iterable[Parts], allowed: range) -> list[Keep]:
        """Return what stays by the same shares of each open layer's groups and of its channels."""
        from harness.models.anatomy import layer_shapes
        from harness.pruning.extraction import Keep
        from harness.pruning.ratios import keep_best, pruned, solve_ratios

        shapes = layer_shapes(model)
        ratios = solve_ratios(model, self.budget, open_layers=allowed, what=self.NAME)
        keeps = []
        for index, parts in enumerate(scores):
            keep = keep_best(index, pruned(shapes[index], *ratios), *parts) if index in allowed else Keep(index)
            self.chosen(model, keep)
            keeps.append(keep)
        return keeps

    def best_of_all(self, model: PreTrainedModel, scores: Sequence[Parts], allowed: range, dense: int) -> list[Keep]:
        """Return what stays by one threshold over the parts of all open layers, each at its cost.

        Layers keep a few.
        """
        from harness.models.anatomy import layer_shapes, outside_parameters
        from harness.pruning.extraction import Keep
        from harness.pruning.threshold import best_parts

        shapes = layer_shapes(model)
        closed = sum(shape.parameters for index, shape in enumerate(shapes) if index not in allowed)
        target = self.budget * dense - outside_parameters(model) - closed
        parts = best_parts(
            [scores[index].groups for index in allowed],
            [scores[index].channels for index in allowed],
            shapes=[shapes[index] for index in allowed],
            target=target,
        )
        keeps = [Keep(index) for index in range(len(shapes))]
        for index, keep in zip(allowed, parts, strict=True):
            keeps[index] = replace(keep, layer=index)
        return keeps

    def chosen(self, model: PreTrainedModel, keep: Keep) -> None:
        """Take note of what stays of one layer, before the scores of the next are asked for.

        `model` is still whole.
        """


def empty() -> Tensor:
    """Return the scores of an attention or MLP that is not there."""
    import torch

    return torch.zeros(0)
