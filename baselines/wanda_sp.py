"""Wanda-sp: whole heads and MLP channels by weights and activations, layer by layer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar

from harness import progress
from harness.pruning.no_grad import no_grad
from harness.pruning.scored import Parts, Scored, empty

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

    from harness.data.calibration import Calibration
    from harness.pruning.extraction import Keep


class WandaSp(Scored):
    """Wanda's |W_ij| * ||X_j||_2 in structured form, as An et al. (FLAP, arXiv 2312.11983) compare with.

    On o_proj and down_proj only, summed over rows: a channel's score is that of its column of down_proj, a head's the sum
    over its columns of o_proj (under grouped queries a whole group's with its query heads). The same ratio in every layer;
    a layer's inputs come from the layers pruned before it.
    """

    NAME = "wanda_sp"
    NEEDS: ClassVar[frozenset[str]] = frozenset({"calibration"})
    SOURCE: ClassVar[str] = "arXiv 2312.11983"

    @no_grad
    def compress(self, model: PreTrainedModel, calibration: Calibration) -> PreTrainedModel:
        return super().compress(model, calibration)

    def scores(self, model: PreTrainedModel, calibration: Calibration) -> Iterator[Parts]:
        from harness.models.anatomy import ATTENTION_WRITER, MLP_WRITER, layer_shapes, layers
        from harness.pruning.column_writers import by_group, writers
        from harness.pruning.walk import input_norms, walk

        shapes, count = layer_shapes(model), len(layers(model))
        for index, layer, feed in progress.track(walk(model, calibration.tokens), "pruning layers", total=count):
            norms = input_norms(feed)
            scores = {name: column_scores(linear.weight, norms[name]) for name, linear in writers(layer)}
            groups = by_group(scores.get(ATTENTION_WRITER, empty()), shapes[index].groups).sum(1)  # (groups,)
            yield Parts(groups, scores.get(MLP_WRITER, empty()))

    def chosen(self, model: PreTrainedModel, keep: Keep) -> None:
        """Zero what goes: the next layer's inputs come from what stays."""
        from harness.models.anatomy import layers
        from harness.pruning.column_writers import pruned_columns, writers

        layer = layers(model)[keep.layer]
        gone = pruned_columns(layer, keep)
        for name, linear in writers(layer):
            linear.weight[:, gone[name]] = 0


def column_scores(weight: Tensor, input_norm: Tensor) -> Tensor:
    """Return sum over i of |W_ij| * ||X_j||_2 (in,) of `weight` (out, in).

    Given the norms (in,) of its inputs.
    """
    return weight.float().abs().sum(0) * input_norm
