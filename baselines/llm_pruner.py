"""LLM-Pruner: remove coupled groups (heads, MLP channels) by their first-order effect on the loss."""

from __future__ import annotations

from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn
from transformers import PreTrainedModel

from harness.data.calibration import Calibration
from harness.pruning.anatomy import ATTENTION, MLP, layer_shapes, layers
from harness.pruning.depth import ends
from harness.pruning.extraction import Keep, extract
from harness.pruning.ratios import keep_best, pruned, solve_ratios
from harness.pruning.taylor import element1, gradients
from harness.spec import Method


class LLMPruner(Method):
    """Taylor importance |w g| per weight (element1; Ma et al., arXiv 2305.11627, eq. 5 with the first-order term),
    summed over all weights that must go together; local per layer, the same ratio in each.

    The first `protect_first` and last `protect_last` layers stay whole (4 and 2 of LLaMA-7B's 32; the same shares of
    other depths when None). With grouped queries a whole key-value group goes with its query heads, and importance is
    folded as attention groups them: query head j belongs to group j // queries, where the published code takes j mod groups.
    """

    NAME = "llm_pruner"
    NEEDS: ClassVar[frozenset[str]] = frozenset({"calibration", "backward"})
    SOURCE: ClassVar[str] = "arXiv 2305.11627"
    budget: Annotated[float, Field(gt=0, le=1)]
    samples: Annotated[int, Field(gt=0)] = 10  # sequences of 64 tokens, as in the paper
    length: Annotated[int, Field(gt=1)] = 64
    protect_first: Annotated[int, Field(ge=0)] | None = None
    protect_last: Annotated[int, Field(ge=0)] | None = None

    def compress(self, model: PreTrainedModel, calibration: Calibration) -> PreTrainedModel:
        shapes = layer_shapes(model)
        open_layers = self.prunable(len(shapes))
        ratios = solve_ratios(model, self.budget, open_layers=open_layers, what=self.NAME)
        scores = self.importance(model, calibration.tokens[: self.samples, : self.length])
        return extract(
            model,
            [
                keep_best(index, pruned(shape, *ratios), *scores[index]) if index in open_layers else Keep(index)
                for index, shape in enumerate(shapes)
            ],
        )

    def prunable(self, depth: int) -> range:
        """Return the layers that may shrink."""
        spared = ends(depth)
        first = spared[0] if self.protect_first is None else self.protect_first
        last = spared[1] if self.protect_last is None else self.protect_last
        return range(min(first, depth - 1), max(depth - last, min(first, depth - 1) + 1))

    def importance(self, model: PreTrainedModel, tokens: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Return per layer the importance of key-value groups (groups,) and MLP channels (width,)."""
        with gradients(model, tokens):
            return [(self.group_scores(layer), self.channel_scores(layer)) for layer in layers(model)]

    @staticmethod
    @torch.no_grad()
    def group_scores(layer: nn.Module) -> Tensor:
        """Sum |w g| over the rows of q, k, v and columns of o of each key-value group (groups,)."""
        attention = layer.self_attn
        groups = attention.k_proj.out_features // attention.head_dim
        total = torch.zeros(groups, device=attention.k_proj.weight.device)
        for name in ATTENTION:
            weight = getattr(attention, name).weight
            score = element1(weight)
            rows = score.T if name == "o_proj" else score  # (heads * head_dim, hidden)
            total += rows.unflatten(0, (groups, -1)).sum((1, 2))  # query head j is in group j // queries
        return total

    @staticmethod
    @torch.no_grad()
    def channel_scores(layer: nn.Module) -> Tensor:
        """Sum |w g| over the row of gate and up and the column of down of each channel (width,)."""
        scores = [element1(getattr(layer.mlp, name).weight) for name in MLP]
        return scores[0].sum(1) + scores[1].sum(1) + scores[2].sum(0)
