"""Stratified random search: genomes spread evenly over parameters.

Uniform ones cluster at mid size.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field

from harness.nas.searchers.base import Ask, Exploration, Landscape, Searcher


class Stratified(Searcher):
    """Ask for the seeds, then for samples, one in each of `batch` bins of parameters.

    whittle's sampler.
    """

    NAME: ClassVar[str] = "stratified"
    SOURCE: ClassVar[str] = "arXiv 2410.06479"
    batch: Annotated[int, Field(ge=1)] = Field(20, description="genomes asked at once, one in each bin of sizes")

    def explore(self, landscape: Landscape, generator: np.random.Generator) -> Exploration:
        yield Ask(landscape.seeds(), seeded=True)
        while True:
            yield Ask(landscape.sample(self.batch, generator))
