"""MultiPruner: remove blocks, then MLP channels, then heads, each time where calibration text suffers least."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Annotated, ClassVar

import torch
from pydantic import Field, field_validator
from torch import Tensor, nn
from transformers import PreTrainedModel

from harness import progress
from harness.data.calibration import Calibration
from harness.pruning.anatomy import (
    LayerShape,
    layer_shape,
    layer_shapes,
    layers,
    linears,
    outside_parameters,
    parameter_count,
)
from harness.pruning.budget import UNIT, check_reached
from harness.pruning.columns import by_group
from harness.pruning.depth import SLACK
from harness.pruning.extraction import Keep, extract
from harness.pruning.narrowing import narrowed
from harness.pruning.perplexity import Relay
from harness.pruning.ratios import keep_best
from harness.spec import Cost, Method

Option = tuple[int, LayerShape]  # a layer, and the widths it would have
Options = Callable[
    [Sequence[LayerShape], float], Iterator[Option]
]  # given all widths and the parameters left to remove


class MultiPruner(Method):
    """Three stages (Munoz et al., arXiv 2501.09949), each a greedy search by the perplexity of calibration text.

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
    budget: Annotated[float, Field(gt=0, le=1)]
    samples: Annotated[int, Field(gt=0)] = 16
    length: Annotated[int, Field(gt=1)] = 128
    distribution: tuple[float, float, float] = (44, 52, 4)  # of what goes: blocks, MLP channels, heads
    channel_step: Annotated[float, Field(gt=0, lt=1)] = 1024 / 11008  # share of an MLP: of LLaMA-2-7B's, as published
    lazy: bool = True

    @field_validator("distribution")
    @classmethod
    def _shares(cls, value: tuple[float, float, float]) -> tuple[float, float, float]:
        if min(value) < 0 or not sum(value):
            raise ValueError(f"distribution must be three shares of blocks, channels and heads, not {value}")
        return value

    def effort(self, tokens: int) -> Cost:
        passes = 190 if self.lazy else 1400  # of SmolLM2-135M at budget 0.8
        return Cost(forward_tokens=passes * min(self.samples * self.length, tokens), seconds=5)

    @torch.no_grad()
    def compress(self, model: PreTrainedModel, calibration: Calibration) -> PreTrainedModel:
        dense, outside = parameter_count(model), outside_parameters(model)
        if outside > self.budget * dense:
            check_reached(outside, dense, self.budget, self.NAME)
        surplus = (1 - self.budget) * dense
        search = Search(model, calibration.tokens[: self.samples, : self.length], surplus, lazy=self.lazy)
        steps = [max(UNIT, round(self.channel_step * shape.width / UNIT) * UNIT) for shape in search.shapes]
        first, second, third = (share / sum(self.distribution) for share in self.distribution)
        search.remove(blocks, until=surplus * (second + third) if first else surplus)
        search.remove(partial(channels, steps=steps), until=surplus * third)
        search.remove(heads, until=0)
        search.remove(partial(channels, steps=steps), until=0)  # what no whole head meets
        smaller = extract(model, search.keeps(), release=True)
        check_reached(parameter_count(smaller), dense, self.budget, self.NAME)
        return smaller


class Search:
    """What stays of a model while the option of least cost goes step after step, `surplus` parameters in all."""

    def __init__(self, model: PreTrainedModel, tokens: Tensor, surplus: float, *, lazy: bool) -> None:
        self.shapes = layer_shapes(model)
        self._whole = list(layers(model))
        self._scores = [magnitudes(layer) for layer in self._whole]
        self._relay = Relay(model, tokens)
        self._loss = self._relay.loss(0, self._whole[0])
        self._surplus, self._left = surplus, surplus
        self._slack = SLACK * parameter_count(model)
        self._lazy = lazy
        self._costs: dict[Option, float] = {}  # when last tried

    def remove(self, options: Options, *, until: float) -> None:
        """Take the best option step after step while more than `until` parameters are left to remove, or none fits."""
        while self._left > until:
            fitting = [option for option in options(self.shapes, self._left) if self._fits(option)]
            if not fitting:
                break
            if not self._lazy:
                self._costs.clear()
            index, shape = best = cheapest(fitting, self._costs, self._trial)
            self._left -= self._saved(best)
            self._loss += self._costs[best]
            self._relay.replace(index, self._narrowed(best))
            self.shapes[index] = shape
            progress.report(1 - self._left / self._surplus, f"{self._left:,.0f} parameters to remove")

    def keeps(self) -> list[Keep]:
        """Return what stays of each layer of which anything does."""
        return [self._keep(option) for option in enumerate(self.shapes) if option[1].groups or option[1].width]

    def _saved(self, option: Option) -> int:
        return self.shapes[option[0]].parameters - option[1].parameters

    def _fits(self, option: Option) -> bool:
        return self._saved(option) - self._left < min(self._left, self._slack)

    def _trial(self, option: Option) -> float:
        """Return by how many nats per token the loss would grow."""
        return self._relay.loss(option[0], self._narrowed(option)) - self._loss

    def _narrowed(self, option: Option) -> nn.Module:
        return narrowed(self._whole[option[0]], self._keep(option))

    def _keep(self, option: Option) -> Keep:
        return keep_best(*option, *self._scores[option[0]])


def cheapest(options: Iterable[Option], costs: dict[Option, float], trial: Callable[[Option], float]) -> Option:
    """Return the option of least cost by `trial`, noting in `costs` what was tried.

    Those with known costs are tried from the lowest on, until the next one's was no less than the best found now.
    """
    tried: dict[Option, float] = {}
    for option in sorted(options, key=lambda option: costs.get(option, -math.inf)):
        if tried and costs.get(option, -math.inf) >= min(tried.values()):
            break
        tried[option] = costs[option] = trial(option)
    return min(tried, key=tried.__getitem__)


def blocks(shapes: Sequence[LayerShape], left: float) -> Iterator[Option]:
    """Yield every layer without its attention, then every one without its MLP; the last of a kind stays."""
    for name in ("groups", "width"):
        present = [option for option in enumerate(shapes) if getattr(option[1], name)]
        for index, shape in present if len(present) > 1 else ():
            yield index, replace(shape, **{name: 0})


def channels(shapes: Sequence[LayerShape], left: float, *, steps: Sequence[int]) -> Iterator[Option]:
    """Yield every layer with a step less of MLP channels, or as many less as are `left` or as UNIT leaves."""
    for index, (shape, step) in enumerate(zip(shapes, steps, strict=True)):
        count = min(step, round(left / shape.channel_parameters), shape.width - UNIT) if shape.width else 0
        if count > 0:
            yield index, replace(shape, width=shape.width - count)


def heads(shapes: Sequence[LayerShape], left: float) -> Iterator[Option]:
    """Yield every layer with a key-value group less; one stays."""
    for index, shape in enumerate(shapes):
        if shape.groups > 1:
            yield index, replace(shape, groups=shape.groups - 1)


def magnitudes(layer: nn.Module) -> tuple[Tensor, Tensor]:
    """Return the L1 norms of a layer's key-value groups (groups,) and MLP channels (width,), by the rows that make them."""
    shape, norms = layer_shape(layer), {}
    for name, linear in linears(layer):
        norms[name.split(".")[1]] = linear.weight.float().abs().sum(1).cpu()  # (out,)
    groups, width = torch.zeros(shape.groups), torch.zeros(shape.width)
    if shape.groups:
        queries, keys, values = (by_group(norms[name], shape.groups).sum(1) for name in ("q_proj", "k_proj", "v_proj"))
        groups = queries + shape.queries * (keys + values)
    if shape.width:
        width = norms["gate_proj"] + norms["up_proj"]
    return groups, width
