"""LINAS: search a cheap predictor's front, measure what it promises, fit again."""

from __future__ import annotations

from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field

from harness.nas.searchers import crowding
from harness.nas.searchers.archive import Archive
from harness.nas.searchers.base import Ask, Exploration, Landscape, Searcher
from harness.nas.searchers.genetic import evolve
from harness.nas.searchers.predictor import FOLDS, Predictor


class Linas(Searcher):
    """Loop: predict fitness, run NSGA-II, ask for its front minus what was measured.

    Objectives are predicted fitness and exact cost.

    Each loop starts from all that was measured, and every ask carries the predictions made before it was told.
    """

    NAME: ClassVar[str] = "linas"
    SOURCE: ClassVar[str] = "arXiv 2205.10358"
    first: Annotated[int, Field(ge=0)] = Field(
        16, description="sampled genomes beside the seeds, before the first prediction"
    )
    batch: Annotated[int, Field(ge=1)] = Field(16, description="genomes that are measured in each loop")
    explored: Annotated[float, Field(ge=0, le=1)] = Field(
        0.1, description="share of them that is sampled, not predicted"
    )
    predicted: Annotated[int, Field(ge=1)] = Field(20_000, description="evaluations of the predictor in each loop")
    population: Annotated[int, Field(ge=4)] = Field(50, description="of NSGA-II on the predictor")
    crossover: Annotated[float, Field(ge=0, le=1)] = Field(0.9, description="chance that two parents are mixed")
    mutation: Annotated[float, Field(ge=0, le=1)] = Field(0.02, description="chance that a gene changes")

    def explore(self, landscape: Landscape, generator: np.random.Generator) -> Exploration:
        archive = Archive(landscape)
        seeds = landscape.seeds()
        archive.add(seeds, (yield Ask(seeds, seeded=True)))
        sample = landscape.sample(self.first, generator)
        archive.add(sample, (yield Ask(sample)))
        while True:
            enough = archive.finite().sum() > FOLDS
            ask = self._next(landscape, archive, generator) if enough else Ask(landscape.sample(self.batch, generator))
            archive.add(ask.genomes, (yield ask))

    def _next(self, landscape: Landscape, archive: Archive, generator: np.random.Generator) -> Ask:
        """Return the next batch, with its predictions."""
        usable = archive.finite()
        known, objectives = archive.genomes[usable], archive.objectives[usable]
        fitness = Predictor(known, objectives[:, 0], landscape.upper())
        exact = landscape.costs(known) is not None
        cost = landscape.costs if exact else Predictor(known, objectives[:, 1], landscape.upper())

        def promise(genomes: np.ndarray) -> np.ndarray:
            canonical = landscape.canonical(genomes)
            return np.stack([fitness(canonical), np.asarray(cost(canonical))], axis=1)

        visited = evolve(
            promise,
            landscape.upper(),
            known,
            generator,
            population=self.population,
            crossover=self.crossover,
            mutation=self.mutation,
            evaluations=self.predicted,
        )
        candidates = archive.fresh(visited)
        best = np.empty(0, dtype=int)
        if len(candidates):
            best = crowding.spread(promise(candidates), round(self.batch * (1 - self.explored)))
        sample = landscape.sample(self.batch - len(best), generator)
        genomes = np.concatenate([candidates[best], sample])
        fresh = archive.fresh(genomes)
        if not len(fresh):
            return Ask(sample)  # the space is exhausted, or close to it
        return Ask(fresh, notes={"predicted": fitness(landscape.canonical(fresh)).tolist(), **fitness.notes()})
