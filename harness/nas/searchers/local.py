"""Local search: one gene of one member of the front at a time."""

from __future__ import annotations

from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field

from harness.nas.searchers.archive import Archive
from harness.nas.searchers.base import Ask, Exploration, Landscape, Searcher
from harness.nas.searchers.crowding import ranks


class Local(Searcher):
    """Give one gene of a random member of the front another value.

    Local search of Klein et al., arXiv 2405.02267.

    It has no population and no predictor: what it finds beyond random search is what the neighbours of good networks are worth.
    """

    NAME: ClassVar[str] = "local"
    SOURCE: ClassVar[str] = "arXiv 2405.02267"
    batch: Annotated[int, Field(ge=1)] = Field(
        8, description="neighbours asked at once: candidates that share layers are scored together"
    )

    def explore(self, landscape: Landscape, generator: np.random.Generator) -> Exploration:
        archive, upper = Archive(landscape), landscape.upper()
        seeds = landscape.seeds()
        archive.add(seeds, (yield Ask(seeds, seeded=True)))
        while True:
            on_front = archive.finite() & (ranks(archive.objectives) == 0)
            front = archive.genomes[on_front] if on_front.any() else archive.genomes
            parents = front[generator.integers(len(front), size=4 * self.batch)]
            fresh = archive.fresh(neighbours(parents, upper, generator))[: self.batch]
            asked = fresh if len(fresh) else landscape.sample(self.batch, generator)
            archive.add(asked, (yield Ask(asked)))


def neighbours(parents: np.ndarray, upper: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Return genomes (n, genes), each with one gene of its parent at another value.

    Parents are (n, genes), values go up to `upper` (genes,).
    """
    children, rows = parents.copy(), np.arange(len(parents))
    genes = generator.choice(np.flatnonzero(upper), size=len(parents))
    step = 1 + (generator.random(len(parents)) * upper[genes]).astype(int)
    children[rows, genes] = (children[rows, genes] + step) % (upper[genes] + 1)
    return children
