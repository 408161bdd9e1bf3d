"""Shortened LLaMA: drop the layers whose absence harms perplexity least.

Or those whose weights have the least effect on the loss.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from harness.spec import BUDGET, Cost, Method

if TYPE_CHECKING:
    from torch import Tensor, nn
    from transformers import PreTrainedModel

    from harness.data.calibration import Calibration

ENDS = 4, 2  # first and last layers that the authors' scripts spare, whatever the depth
LENGTH = 256  # tokens that a calibration sample usually has, for the estimate of time


class ShortenedLlama(Method):
    """Remove layers in one shot, in the order of a criterion, to meet the budget.

    After Kim et al., arXiv 2402.02834.

    "ppl": the perplexity of `samples` calibration samples without that layer alone, lowest first; any layer may go, since
    the paper attaches its "+" to the magnitude and Taylor criteria only and perplexity finds the needed layers by itself.
    "taylor" (Taylor+): the sum of |w dL/dw| over a layer's linear weights, lowest first; the first 4 and last 2 layers of 32
    (the same shares of other depths, rounded up) never go. `paper_compat` does as the scripts behind the published checkpoints:
    the first 4 and last 2 layers stay whatever the depth, under "ppl" too, and a layer's two norms count in its sum, which
    moves it by 2 to 4 % and layers past each other. `exact` as in `shortgpt`: one more layer loses a part; with
    `exact=False`, the paper's version, whole layers only. Where the layers that may go do not suffice: ValueError.
    """

    NAME = "shortened_llama"
    VERSION: ClassVar[int] = 2
    NEEDS: ClassVar[frozenset[str]] = frozenset({"calibration"})
    SOURCE: ClassVar[str] = "arXiv 2402.02834"
    budget: float = BUDGET
    criterion: Literal["ppl", "taylor"] = Field(
        "ppl", description="what orders the layers: perplexity without one, or the sum of |w dL/dw| over its weights"
    )
    samples: int = Field(10, gt=0, description="calibration samples that the criterion looks at, as in the paper")
    exact: bool = Field(
        True, description="trim one more layer to meet the budget; false: whole layers only, as published"
    )
    paper_compat: bool = Field(
        False,
        description="as the published scripts: 4 first and 2 last layers stay at any depth, norms count in taylor",
    )

    @property
    def needs(self) -> frozenset[str]:
        return self.NEEDS | {"backward"} if self.criterion == "taylor" else self.NEEDS

    def effort(self, tokens: int) -> Cost:
        looked_at = min(self.samples * LENGTH, tokens)
        passes = 16 if self.criterion == "ppl" else 0  # half of some thirty layers, each left out once
        trained = looked_at if self.criterion == "taylor" else 0
        return Cost(forward_tokens=passes * looked_at + tokens, backward_tokens=trained, seconds=5)

    def compress(self, model: PreTrainedModel, calibration: Calibration) -> PreTrainedModel:
        from harness.pruning.depth import drop
        from harness.pruning.importance import measure

        return drop(
            model,
            self.order(model, calibration.tokens[: self.samples]),
            self.budget,
            exact=self.exact,
            channel_scores=lambda index: measure(model, calibration.tokens).channels[index],
            what=self.NAME,
        )

    def order(self, model: PreTrainedModel, tokens: Tensor) -> list[int]:
        """Return the layers that may go, the least important first, by `tokens` (samples, length)."""
        import torch

        from harness.pruning.relay import perplexities_without

        if self.criterion == "ppl":
            scores, spares_ends = perplexities_without(model, tokens), self.paper_compat
        else:
            found = effects(model, tokens, with_norms=self.paper_compat)
            scores, spares_ends = torch.tensor(found, dtype=torch.float64), True
        may_go = unprotected(len(scores), scaled=not self.paper_compat) if spares_ends else range(len(scores))
        return [index for index in scores.argsort(stable=True).tolist() if index in may_go]


def unprotected(depth: int, *, scaled: bool = True) -> range:
    """Return the layers but for the first 4 and last 2 of 32.

    Of another `depth` the same shares, rounded up.
    """
    from harness.pruning.depth import ends

    first, last = ends(depth) if scaled else ENDS
    return range(first, depth - last)


def effects(model: PreTrainedModel, tokens: Tensor, *, with_norms: bool = False) -> list[float]:
    """Return per layer the sum of |w dL/dw| over its linear weights (and norms).

    L is the loss of `tokens` (samples, length).
    """
    from harness.models.anatomy import layers
    from harness.pruning.taylor import element1, gradients

    with gradients(model, tokens):
        return [
            sum(element1(weight).double().sum().item() for weight in weights(layer, with_norms))
            for layer in layers(model)
        ]


def weights(layer: nn.Module, with_norms: bool) -> Iterator[Tensor]:
    """Yield the weights of a layer's linears, and of its two norms."""
    from harness.models.anatomy import linears, norms

    for _, linear in linears(layer):
        yield linear.weight
    for norm in norms(layer) if with_norms else ():
        yield norm.weight
