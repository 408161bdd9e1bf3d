"""MultiPruner: remove blocks, then MLP channels, then heads.

Each time where calibration text suffers least.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field, field_validator

from harness.pruning.budget import UNIT, check_reached
from harness.pruning.no_grad import no_grad
from harness.pruning.scored import Parts, Scored
from harness.spec import Cost

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedModel

    from harness.data.calibration import Calibration
    from harness.pruning.extraction import Keep


class MultiPruner(Scored):
    """Three stages (Munoz et al., arXiv 2501.09949).

    Each a greedy search by the perplexity of calibration text.

    In each step every candidate is tried and the one of lowest perplexity stays: whole attention or MLP blocks (as in
    BlockPruner, arXiv 2406.10594), then `channel_step` of a layer's MLP channels, then one head of a layer (a key-value
    group under grouped queries), until the stage's share of all that has to go is reached; `distribution` has the shares,
    44:52:4 as published for models without grouping. Within a layer go the channels and heads of smallest weights first:
    L1 norms of rows of gate and up, and of q, k and v (k and v once for each query head), not of down and o.

    Departures: the last step takes exactly the channels that the budget leaves; a layer that keeps its MLP keeps 8
    channels, the model an attention and an MLP; nothing goes that is more than what is left to remove; heads go, whatever
    their share, where channels do not suffice. With `lazy`, not in the paper, a candidate is tried again only if what it
    cost when last tried is less than the best of this step: the same choice wherever removals only make each other
    costlier, from about a ninth of the trials. `lazy=False` tries all.

    The paper takes 256 (blocks) and 128 (widths) texts of Alpaca. The defaults are for five minutes with SmolLM2-135M at
    budget 0.8 on one core (1500 tokens/s): about 260 trials of 0.6 passes each, since the layers before a candidate are not
    run again, and 70 steps of half a pass, 190 passes over `samples` * `length` tokens; `lazy=False` takes some 1400.
    """

    NAME = "multipruner"
    NEEDS: ClassVar[frozenset[str]] = frozenset({"calibration"})
    SOURCE: ClassVar[str] = "arXiv 2501.09949"
    samples: int = Field(16, gt=0, description="calibration sequences whose perplexity is minimised")
    length: int = Field(128, gt=1, description="tokens of each")
    distribution: tuple[float, float, float] = Field(
        (44, 52, 4), description="shares of what goes: blocks, MLP channels, heads, as published"
    )
    channel_step: float = Field(
        1024 / 11008, gt=0, lt=1, description="share of an MLP's channels that go in a step: 1024 of LLaMA-2-7B's 11008"
    )
    lazy: bool = Field(
        True, description="try again only candidates that may be the best; false tries all, as the paper does"
    )

    @field_validator("distribution")
    @classmethod
    def _shares(cls, value: tuple[float, float, float]) -> tuple[float, float, float]:
        if min(value) < 0 or not sum(value):
            raise ValueError(f"distribution must be three shares of blocks, channels and heads, not {value}")
        return value

    def effort(self, tokens: int) -> Cost:
        passes = 190 if self.lazy else 1400  # of SmolLM2-135M at budget 0.8
        return Cost(forward_tokens=passes * min(self.samples * self.length, tokens), seconds=5)

    @no_grad
    def compress(self, model: PreTrainedModel, calibration: Calibration) -> PreTrainedModel:
        return super().compress(model, calibration)

    def score(self, layer: nn.Module) -> Parts:
        return magnitudes(layer)

    def keeps(self, model: PreTrainedModel, calibration: Calibration, dense: int) -> list[Keep]:
        from harness.models.anatomy import outside_parameters
        from harness.pruning.greedy import Search, blocks, channels, heads

        if (outside := outside_parameters(model)) > self.budget * dense:
            check_reached(outside, dense, self.budget, self.NAME)
        surplus, tokens = (1 - self.budget) * dense, calibration.tokens[: self.samples, : self.length]
        search = Search(model, tokens, list(self.scores(model, calibration)), surplus, lazy=self.lazy)
        steps = [max(UNIT, round(self.channel_step * shape.width / UNIT) * UNIT) for shape in search.shapes]
        first, second, third = (share / sum(self.distribution) for share in self.distribution)
        search.remove(blocks, until=surplus * (second + third) if first else surplus)
        search.remove(partial(channels, steps=steps), until=surplus * third)
        search.remove(heads, until=0)
        search.remove(partial(channels, steps=steps), until=0)  # what no whole head meets
        return search.keeps()


def magnitudes(layer: nn.Module) -> Parts:
    """Return the L1 norms of a layer's key-value groups (groups,) and MLP channels (width,).

    They are of the rows that make them.
    """
    import torch

    from harness.models.anatomy import layer_shape, linears
    from harness.pruning.column_writers import by_group

    shape, norms = layer_shape(layer), {}
    for name, linear in linears(layer):
        norms[name.split(".")[1]] = linear.weight.float().abs().sum(1).cpu()  # (out,)
    groups, width = torch.zeros(shape.groups), torch.zeros(shape.width)
    if shape.groups:
        queries, keys, values = (by_group(norms[name], shape.groups).sum(1) for name in ("q_proj", "k_proj", "v_proj"))
        groups = queries + shape.queries * (keys + values)
    if shape.width:
        width = norms["gate_proj"] + norms["up_proj"]
    return Parts(groups, width)
