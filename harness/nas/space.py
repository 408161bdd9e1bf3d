"""A search space over one super-network.

Genomes to sub-networks and sizes, samples, seeds and repairs. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np

from harness.nas.architecture import Architecture, Body
from harness.nas.axes import Axis, Draft
from harness.nas.controls import middle, shallow, uniform
from harness.pruning.budget import TOLERANCE

CostKind = Literal["parameters", "bytes", "flops", "latency"]
SEED_SIZES = (0.6, 0.7, 0.8, 0.9)  # shares of the dense parameters at which controls are among the seeds
BELOW = 0.01  # of the dense parameters, that a control is made smaller before its genome is brought up to the size
REPAIRS = 12  # moves per gene that a repair may try


@dataclass(frozen=True)
class Space:
    """Axes over a body.

    Samples lie in the range [`lowest`, `highest`] of sizes, shares of the dense parameters.
    """

    body: Body
    axes: tuple[Axis, ...]
    lowest: float = 0.5
    highest: float = 1.0
    cost: CostKind = "parameters"

    @cached_property
    def _tops(self) -> np.ndarray:
        return np.array([top for axis in self.axes for top in axis.tops(self.body)])

    @cached_property
    def _edges(self) -> list[int]:
        return np.cumsum([0, *(len(axis.tops(self.body)) for axis in self.axes)]).tolist()

    @property
    def genes(self) -> int:
        return len(self._tops)

    def upper(self) -> np.ndarray:
        """Return the largest value of each gene (genes,); the smallest is 0."""
        return self._tops.copy()

    def draft(self, genomes: np.ndarray) -> Draft:
        """Return the sub-networks of genomes (n, genes)."""
        genomes = np.atleast_2d(np.asarray(genomes, dtype=int))
        whole = Draft.full(self.body, len(genomes))
        for axis, start, stop in zip(self.axes, self._edges, self._edges[1:], strict=False):
            axis.apply(self.body, genomes[:, start:stop], whole)
        return whole

    def decode(self, genome: Sequence[int] | np.ndarray) -> Architecture:
        """Return the canonical architecture of a genome (genes,)."""
        return self.draft(np.asarray(genome)).architecture(0)

    def encode(self, architecture: Architecture) -> np.ndarray:
        """Return the genome (genes,) that comes nearest to an architecture."""
        return np.array([gene for axis in self.axes for gene in axis.nearest(self.body, architecture)], dtype=int)

    def canonical(self, genomes: np.ndarray) -> np.ndarray:
        """Return genomes (n, genes) with genes of dropped layers at 0: equal rows are equal sub-networks."""
        genomes = np.array(genomes, dtype=int)
        draft = self.draft(genomes)
        for axis, start, stop in zip(self.axes, self._edges, self._edges[1:], strict=False):
            idle = axis.idle(self.body, draft)
            if idle is not None:
                genomes[:, start:stop][idle] = 0
        return genomes

    def sizes(self, genomes: np.ndarray) -> np.ndarray:
        """Return parameters (n,) as a share of the dense model's, exact."""
        return self.draft(genomes).parameters(self.body) / self.body.dense

    def costs(self, genomes: np.ndarray) -> np.ndarray | None:
        """Return the cost (n,) as a share of the dense model's; None for latency, which is measured."""
        if self.cost == "parameters":
            return self.sizes(genomes)
        if self.cost == "latency":
            return None
        draft = self.draft(genomes)
        return np.array([self.price(draft.architecture(index)) for index in range(len(genomes))])

    def price(self, architecture: Architecture) -> float:
        """Return the cost of one architecture, `latency` apart, as a share of the dense model's."""
        if self.cost == "flops":
            return self.body.flops(architecture) / self.body.flops(self.body.full)
        if self.cost == "bytes":
            return self._bytes(architecture) / self._bytes(self.body.full)
        return self.body.parameters(architecture) / self.body.dense

    def _bytes(self, architecture: Architecture) -> int:
        """Return bytes as stored with int8 on top: one per weight inside layers, two outside."""
        return self.body.parameters(architecture) + self.body.outside * architecture.hidden // self.body.hidden

    def full(self) -> Architecture:
        """Return the whole network."""
        return self.body.full

    def smallest(self) -> Architecture:
        """Return the network of the lowest genes, raised to the range of sizes."""
        lowest = np.zeros((1, self.genes), dtype=int)
        if self.lowest > self.sizes(lowest)[0]:
            lowest = self.repair(lowest, self.lowest, np.random.default_rng(0))
        return self.decode(lowest[0])

    def allowed(self, genomes: np.ndarray) -> np.ndarray:
        """Return which genomes (n,) lie in the range of sizes."""
        sizes = self.sizes(genomes)
        return (sizes >= self.lowest - TOLERANCE) & (sizes <= self.highest + TOLERANCE)

    def seeds(self) -> np.ndarray:
        """Return genomes (seeds, genes).

        The whole, the smallest, and at several sizes `uniform`, `middle` and layers dropped.
        """
        rows = [self._tops.copy(), self.encode(self.smallest())]
        least = self.sizes(rows[1][None])[0]
        for size in SEED_SIZES:
            if max(self.lowest, least) <= size <= self.highest:
                goal = (size - BELOW) * self.body.dense
                coarse = np.array([self.encode(control(self.body, goal)) for control in (uniform, middle, shallow)])
                rows += list(self.repair(coarse, size, np.random.default_rng(0)))  # upwards: what is whole stays whole
        distinct = np.unique(self.canonical(np.array(rows)), axis=0)
        return distinct[self.allowed(distinct)]

    def uniform(self, count: int, generator: np.random.Generator) -> np.ndarray:
        """Return genomes (count, genes) with every gene drawn uniformly; sizes cluster in the middle."""
        return self.canonical(generator.integers(0, self._tops + 1, (count, self.genes)))

    def sample(self, count: int, generator: np.random.Generator) -> np.ndarray:
        """Return genomes (count, genes) in random order whose sizes are spread evenly over the range."""
        lowest = max(self.lowest, float(self.sizes(np.zeros((1, self.genes), dtype=int))[0]))
        sizes = lowest + (self.highest - lowest) * (np.arange(count) + generator.random(count)) / count
        sizes = generator.permutation(sizes)
        level = ((sizes - lowest) / max(1e-9, 1 - lowest))[:, None]
        drawn = generator.normal(level * self._tops, 0.25 * self._tops)  # (count, genes)
        return self.repair(np.clip(np.rint(drawn), 0, self._tops).astype(int), sizes, generator)

    def repair(self, genomes: np.ndarray, size: float | np.ndarray, generator: np.random.Generator) -> np.ndarray:
        """Return canonical genomes (n, genes) after random moves towards `size`.

        One for all or (n,); as near as they got.
        """
        genomes = np.array(genomes, dtype=int)
        tops, rows = self._tops, np.arange(len(genomes))
        stride = np.maximum(1, self.genes // 100)  # spaces of thousands of bits move many at once
        gaps = size - self.sizes(genomes)
        for _ in range(REPAIRS * min(self.genes, 100)):
            if (np.abs(gaps) < 0.001).all():
                break
            moved = genomes.copy()
            for _ in range(stride):
                gene = generator.integers(0, self.genes, len(genomes))
                moved[rows, gene] = np.clip(moved[rows, gene] + np.where(gaps > 0, 1, -1), 0, tops[gene])
            left = size - self.sizes(moved)
            better = np.abs(left) < np.abs(gaps)
            genomes[better], gaps[better] = moved[better], left[better]
            if stride > 1 and not better.any():
                stride = max(1, stride // 2)
        return self.canonical(genomes)
