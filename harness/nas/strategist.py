"""One training step of a super-network.

Draw its sub-networks, run them in place, add up their gradients.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from torch import Tensor
from transformers import PreTrainedModel

from harness.nas.architecture import Architecture
from harness.nas.space import Space
from harness.nas.strategies import PASSES, Strategy, Teacher, networks, teacher_passes
from harness.nas.supernet import Elastic
from harness.recovery.loop import Update
from harness.recovery.objective import loss, parts, response_logits, teach

STRATA = 20  # sub-networks drawn together, spread evenly over sizes (arXiv 2410.06479 has 20 bins)


@dataclass
class Strategist:
    """`update` trains the networks of one step of a super-network that `elastic` has in hand."""

    model: PreTrainedModel
    elastic: Elastic
    space: Space
    strategy: Strategy
    distill: float
    seed: int
    dense: PreTrainedModel | None = None  # the teacher; None: the full network
    _drawn: dict[int, np.ndarray] = field(default_factory=dict)

    def update(self, step: int, ids: Tensor, labels: Tensor) -> Update:
        """Accumulate the mean gradient of the step's networks; return their mean loss."""
        kinds = networks(self.strategy, step)
        chosen = self.architectures(step)
        teacher: Teacher = "inplace" if self.dense is None else "dense"
        alone = teacher_passes(self.strategy, teacher, self.distill, step)
        total = 0.0
        for part, wanted, scale in parts(ids, labels):
            taught = self._teach(part, wanted) if alone else None
            for kind, architecture in zip(kinds, chosen, strict=True):
                self.elastic.activate(architecture)
                logits, targets = response_logits(self.model, part, wanted)
                value = loss(logits, targets, None if kind == "full" else taught, self.distill) * scale / len(kinds)
                value.backward()
                total += float(value.detach())
                if kind == "full" and taught is None:
                    taught = logits.detach()
        return Update(total, len(kinds) * ids.numel(), kinds[0] if len(kinds) == 1 else self.strategy)

    def architectures(self, step: int) -> list[Architecture]:
        """Return the sub-networks of a step, drawn for the step's number alone."""
        kinds = networks(self.strategy, step)
        each = kinds.count("sub")
        first = step // len(PASSES[self.strategy]) * each
        drawn = iter([self.space.decode(self._genome(first + index)) for index in range(each)])
        fixed: dict[str, Any] = {"full": self.space.full, "smallest": self.space.smallest}
        return [next(drawn) if kind == "sub" else fixed[kind]() for kind in kinds]

    def _genome(self, index: int) -> np.ndarray:
        block, place = divmod(index, STRATA)
        if block not in self._drawn:
            generator = np.random.default_rng([self.seed, block])
            draw = self.space.uniform if self.strategy == "instatune" else self.space.sample
            self._drawn = {block: draw(STRATA, generator)}
        return self._drawn[block][place]

    def _teach(self, ids: Tensor, labels: Tensor) -> Tensor:
        if self.dense is not None:
            return teach(self.dense, ids, labels)
        self.elastic.activate(self.space.full())
        return teach(self.model, ids, labels)
