"""MO-REA: regularised evolution for two objectives.

The oldest dies, however good it is; the records keep it.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field

from harness.nas.searchers import crowding
from harness.nas.searchers.archive import Archive
from harness.nas.searchers.base import Ask, Exploration, Landscape, Searcher
from harness.nas.searchers.variation import mutated


class Morea(Searcher):
    """Mutate the winner of a tournament by rank, then crowding.

    After Real et al., 2019, made multi-objective in Syne Tune.
    """

    NAME: ClassVar[str] = "morea"
    SOURCE: ClassVar[str] = "arXiv 1802.01548"
    population: Annotated[int, Field(ge=2)] = Field(50, description="genomes that live")
    tournament: Annotated[int, Field(ge=1)] = Field(10, description="genomes of which a parent is the best")
    mutation: Annotated[float, Field(ge=0, le=1)] = Field(
        0.04, description="chance of each gene beyond the one that always changes"
    )
    batch: Annotated[int, Field(ge=1)] = Field(
        8, description="children asked at once: candidates that share layers are scored together"
    )

    def explore(self, landscape: Landscape, generator: np.random.Generator) -> Exploration:
        archive, seeds = Archive(landscape), landscape.seeds()
        told = yield Ask(seeds, seeded=True)
        archive.add(seeds, told)
        sample = landscape.sample(max(self.population - len(seeds), self.population // 2), generator)
        alive, objectives = np.concatenate([seeds, sample]), np.concatenate([told, (yield Ask(sample))])
        archive.add(sample, objectives[len(seeds) :])
        while True:
            place = np.argsort(crowding.order(objectives))  # of each living one, 0 for the best
            entrants = np.argsort(generator.random((4 * self.batch, len(alive))), axis=1)[:, : self.tournament]
            winners = alive[entrants[np.arange(len(entrants)), place[entrants].argmin(axis=1)]]
            children = mutated(winners, landscape.upper(), self.mutation, generator, least=1)
            fresh = archive.fresh(children)[: self.batch]
            asked = fresh if len(fresh) else landscape.sample(self.batch, generator)
            told = yield Ask(asked)
            archive.add(asked, told)
            alive = np.concatenate([alive, asked])[-self.population :]
            objectives = np.concatenate([objectives, told])[-self.population :]
