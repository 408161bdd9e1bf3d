"""The search space: elastic depth and a width per layer, canonical architectures, exact parameter counts without a model. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from harness.pruning.anatomy import LayerShape
from harness.pruning.budget import bisect

Architecture = tuple[int, ...]  # MLP width per physical layer, 0 for a dropped layer: canonical, the key of everything

STEPS = 24  # a layer's width changes in this many equal steps
CHOICES = (6, 9, 12, 15, 18, 21, 24)  # of STEPS, that a gene may take
SHALLOWEST = 0.75  # share of the layers that always stay (LLaMA-NAS: 24 of 32)


@dataclass(frozen=True)
class Space:
    """Depth choices drop layers in `order` (least important first); each kept layer keeps a prefix of its channels."""

    shapes: tuple[LayerShape, ...]
    order: tuple[int, ...]
    outside: int  # parameters outside the decoder layers

    @property
    def depths(self) -> int:
        """How many layers may be dropped, at most, plus one."""
        return len(self.shapes) - int(np.ceil(len(self.shapes) * SHALLOWEST)) + 1

    @property
    def genes(self) -> int:
        return 1 + len(self.shapes)

    def upper(self) -> np.ndarray:
        """Return the largest value of each gene (genes,); the smallest is 0."""
        return np.array([self.depths - 1, *[len(CHOICES) - 1] * len(self.shapes)])

    def unit(self, layer: int) -> int:
        return max(1, self.shapes[layer].width // STEPS)

    def decode(self, genome: Sequence[int] | np.ndarray) -> Architecture:
        """Return the canonical architecture: gene 0 counts dropped layers, gene 1 + l chooses the width of layer l."""
        dropped = set(self.order[: int(genome[0])])
        return tuple(
            0 if index in dropped else self.width(index, CHOICES[int(gene)]) for index, gene in enumerate(genome[1:])
        )

    def width(self, layer: int, steps: int) -> int:
        return self.shapes[layer].width if steps == STEPS else self.unit(layer) * steps

    def parameters(self, architecture: Architecture) -> int:
        """Return the exact parameter count, tied embeddings once."""
        kept = [(shape, width) for shape, width in zip(self.shapes, architecture, strict=True) if width]
        return self.outside + sum(
            shape.parameters - (shape.width - width) * shape.channel_parameters for shape, width in kept
        )

    @property
    def dense(self) -> int:
        return self.parameters(self.full())

    def full(self) -> Architecture:
        return tuple(shape.width for shape in self.shapes)

    def seeds(self) -> np.ndarray:
        """Return genomes (seeds, genes) that every search starts from: corners, `uniform` and `middle` at each width, depths alone."""
        top = len(CHOICES) - 1
        count = len(self.shapes)
        edge = middle_layers(count)
        rows = []
        for gene in range(top + 1):
            rows.append([0, *[gene] * count])
            rows.append([0, *[gene if index in edge else top for index in range(count)]])
        rows += [[depth, *[top] * count] for depth in range(1, self.depths)]
        rows.append([self.depths - 1, *[0] * count])
        return np.unique(np.array(rows), axis=0)

    def snap(self, architecture: Architecture, target: float) -> Architecture:
        """Return the architecture with its widths moved together towards full or none, then nudged unit by unit, to `target`."""

        def scaled(shrink: float) -> Architecture:
            move = (
                1 - 2 * shrink
            )  # 1: all full, 0: as they are, -1: none; bisect wants counts that fall with its argument
            goals = [
                (shape.width - width if move > 0 else width) * move + width
                for shape, width in zip(self.shapes, architecture, strict=True)
            ]
            return tuple(self._clip(index, goal) if architecture[index] else 0 for index, goal in enumerate(goals))

        best = scaled(bisect(lambda shrink: self.parameters(scaled(shrink)), target))
        for _ in range(4 * len(best)):
            gap = target - self.parameters(best)
            moves = []
            for index, width in enumerate(best):
                changed = (
                    self._clip(index, width + (self.unit(index) if gap > 0 else -self.unit(index))) if width else 0
                )
                if changed != width:
                    moves.append(
                        (
                            abs(gap - (changed - width) * self.shapes[index].channel_parameters),
                            -width if gap < 0 else width,
                            index,
                            changed,
                        )
                    )
            if not moves or min(moves)[0] >= abs(gap):
                return best
            _, _, index, changed = min(moves)
            best = (*best[:index], changed, *best[index + 1 :])
        return best

    def _clip(self, layer: int, width: float) -> int:
        unit, widest = self.unit(layer), self.shapes[layer].width
        rounded = round(width / unit) * unit
        return widest if rounded >= widest - unit // 2 else max(unit, rounded)


def middle_layers(count: int) -> range:
    """Return the layers that the `middle` control shrinks: all but the first 4 and last 2 of 30, scaled with depth."""
    return range(round(count * 4 / 30), count - max(1, round(count * 2 / 30)))


def stratified(space: Space, count: int, generator: np.random.Generator) -> np.ndarray:
    """Return genomes (count, genes) spread evenly over parameter counts: uniform genes would cluster at mid size."""
    rows = []
    for level in (np.arange(count) + generator.random(count)) / count:
        centre = level * (len(CHOICES) - 1)
        widths = np.clip(np.rint(generator.normal(centre, 1.2, len(space.shapes))), 0, len(CHOICES) - 1)
        depth = generator.integers(0, 1 + int((1 - level) * (space.depths - 1)) if space.depths > 1 else 1)
        rows.append([depth, *widths])
    return np.array(rows, dtype=int)
