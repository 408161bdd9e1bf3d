"""Removal step after step: of all options the one of which calibration text suffers least.

After arXiv 2406.10594, 2501.09949.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

from torch import Tensor, nn
from transformers import PreTrainedModel

from harness import progress
from harness.models.anatomy import layer_shapes, layers, parameter_count
from harness.models.layer_shape import LayerShape
from harness.pruning.budget import UNIT
from harness.pruning.depth import SLACK
from harness.pruning.extraction import Keep
from harness.pruning.narrowing import narrowed
from harness.pruning.ratios import keep_best
from harness.pruning.relay import Relay
from harness.pruning.scored import Parts

Option = tuple[int, LayerShape]  # a layer, and the widths it would have
Options = Callable[
    [Sequence[LayerShape], float], Iterator[Option]
]  # given all widths and the parameters left to remove


class Search:
    """What stays of a model while the option of least cost is removed, step after step.

    The steps remove `surplus` parameters in all.
    """

    def __init__(
        self, model: PreTrainedModel, tokens: Tensor, scores: Sequence[Parts], surplus: float, *, lazy: bool
    ) -> None:
        self.shapes = layer_shapes(model)
        self._whole = list(layers(model))
        self._scores = scores
        self._relay = Relay(model, tokens)
        self._loss = self._relay.loss(0, self._whole[0])
        self._surplus, self._left = surplus, surplus
        self._slack = SLACK * parameter_count(model)
        self._lazy = lazy
        self._costs: dict[Option, float] = {}  # when last tried

    def remove(self, options: Options, *, until: float) -> None:
        """Take the best option step after step while more than `until` parameters are left to remove.

        It ends earlier where no option fits.
        """
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
