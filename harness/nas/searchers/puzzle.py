"""Puzzle: measure every gene alone, solve an integer program for each size, refine by swaps."""

from __future__ import annotations

from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field

from harness.nas.searchers.archive import Archive
from harness.nas.searchers.base import Ask, Exploration, Landscape, Searcher
from harness.nas.searchers.knapsack import knapsack
from harness.nas.searchers.levels import at_level, best_near
from harness.nas.searchers.variation import switched
from harness.pruning.budget import TOLERANCE

LINEARISED = 3  # times that sizes are taken anew around a solution: dropping a layer changes what its width is worth


class Puzzle(Searcher):
    """Add up the fitness of each gene's levels alone in the dense model.

    A knapsack chooses for a grid of sizes.

    Levels that were not measured are interpolated. The program is solved after one level of every gene, then after each
    further one, so an early stop has solutions too.
    """

    NAME: ClassVar[str] = "puzzle"
    SOURCE: ClassVar[str] = "arXiv 2411.19146"
    levels_per_gene: Annotated[int, Field(ge=1)] = Field(
        3, description="levels of a gene that are measured, beside the dense one"
    )
    grid: Annotated[int, Field(ge=2)] = Field(12, description="sizes, from the smallest seed to the dense model")
    swaps: Annotated[int, Field(ge=1)] = Field(3, description="swaps in one refinement, at most")
    children: Annotated[int, Field(ge=1)] = Field(1, description="of each size, in one round of refinement")

    def explore(self, landscape: Landscape, generator: np.random.Generator) -> Exploration:
        archive, seeds = Archive(landscape), landscape.seeds()
        told = yield Ask(seeds, seeded=True)
        archive.add(seeds, told)
        sizes = landscape.sizes(seeds)
        dense, base = seeds[np.argmax(sizes)], told[np.argmax(sizes), 0]
        levels = np.linspace(sizes.min(), sizes.max(), self.grid + 1)[:-1]
        losses = [{int(level): base} for level in dense]  # per gene: measured level -> fitness with it alone changed
        for asked in self._alone(landscape, dense):
            told = yield Ask(asked)
            archive.add(asked, told)
            for row, fitness in zip(asked, told[:, 0], strict=True):
                gene = int(np.argmax(row != dense))
                losses[gene][int(row[gene])] = fitness
            table = interpolated(losses, landscape.upper())
            solved = np.array([solution(landscape, table, dense, level, generator) for level in levels])
            archive.add(solved, (yield Ask(solved)))
        while True:
            children = [self._swapped(archive, table, level, generator) for level in levels]
            asked = np.concatenate(children)
            asked = asked if len(asked) else landscape.sample(self.grid, generator)
            archive.add(asked, (yield Ask(asked)))

    def _alone(self, landscape: Landscape, dense: np.ndarray) -> list[np.ndarray]:
        """Return genomes (n, genes) that differ from `dense` in one gene, in rounds.

        The levels farthest from it first.
        """
        rounds: list[list[np.ndarray]] = [[] for _ in range(self.levels_per_gene)]
        for gene, top in enumerate(landscape.upper()):
            evenly = np.unique(np.rint(np.linspace(0, top, self.levels_per_gene + 1)).astype(int))
            others = [level for level in evenly if level != dense[gene]]
            for place, level in enumerate(sorted(others, key=lambda level: -abs(level - dense[gene]))):
                row = dense.copy()
                row[gene] = level
                rounds[min(place, self.levels_per_gene - 1)].append(row)
        return [np.array(rows) for rows in rounds if rows]

    def _swapped(
        self, archive: Archive, table: list[np.ndarray], level: float, generator: np.random.Generator
    ) -> np.ndarray:
        """Return genomes (at most `children`, genes).

        Of many swaps of the best one's levels, those that should cost least.
        """
        parent = best_near(archive, level)
        drawn = switched(parent, archive.landscape.upper(), 16 * self.children, self.swaps, generator)
        fresh = at_level(archive, drawn, level, generator)
        total = [sum(table[gene][value] for gene, value in enumerate(row)) for row in fresh]
        return fresh[np.argsort(total, kind="stable")[: self.children]]


def interpolated(losses: list[dict[int, float]], upper: np.ndarray) -> list[np.ndarray]:
    """Return the loss of each level of each gene: measured, or linear between measured levels.

    Refused ones cost most.
    """
    finite = [abs(loss) for known in losses for loss in known.values() if np.isfinite(loss)]
    worst = 1 + len(losses) * max(finite, default=0.0)
    tables = []
    for known, top in zip(losses, upper, strict=True):
        levels = sorted(known)
        values = [known[level] if np.isfinite(known[level]) else worst for level in levels]
        tables.append(np.interp(np.arange(top + 1), levels, values))
    return tables


def solution(
    landscape: Landscape, table: list[np.ndarray], dense: np.ndarray, level: float, generator: np.random.Generator
) -> np.ndarray:
    """Return the genome (genes,) of the least summed loss within that size.

    It is repaired where sizes do not add up.
    """
    losses, genes = np.concatenate(table), np.repeat(np.arange(len(table)), [len(row) for row in table])
    values = np.concatenate([np.arange(len(row)) for row in table])
    around = dense
    for _ in range(LINEARISED):
        changed = np.tile(around, (len(genes), 1))
        changed[np.arange(len(genes)), genes] = values
        here = landscape.sizes(around[None])[0]
        chosen = knapsack(losses, landscape.sizes(changed) - here, genes, level - here + 1e-9)
        if chosen is None or np.array_equal(values[chosen], around):
            break
        around = values[chosen]
    over = landscape.sizes(around[None])[0] > level + TOLERANCE
    return landscape.repair(around[None], level, generator)[0] if over else around
