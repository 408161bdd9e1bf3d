"""Random search: every gene drawn uniformly.

The control that each other searcher must beat at an equal budget.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field

from harness.nas.searchers.base import Ask, Exploration, Landscape, Searcher


class Random(Searcher):
    """Ask for the seeds, then for uniform genomes (Klein et al., arXiv 2405.02267: a mandatory baseline)."""

    NAME: ClassVar[str] = "random"
    SOURCE: ClassVar[str] = "arXiv 2405.02267"
    batch: Annotated[int, Field(ge=1)] = Field(25, description="genomes asked at once")

    def explore(self, landscape: Landscape, generator: np.random.Generator) -> Exploration:
        yield Ask(landscape.seeds(), seeded=True)
        while True:
            yield Ask(landscape.uniform(self.batch, generator))
