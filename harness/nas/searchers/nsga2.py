"""NSGA-II on the measured objectives, by pymoo."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

import numpy as np
from pydantic import Field

from harness.nas.searchers.base import Ask, Exploration, Landscape, Searcher

WORST = 1e12  # objective of a refused genome: pymoo's crowding cannot take inf


class Nsga2(Searcher):
    """Evolve a population by rank and crowding (Deb et al., 2002).

    The first generation is the seeds and a sample.
    """

    NAME: ClassVar[str] = "nsga2"
    SOURCE: ClassVar[str] = "Deb et al., 2002"
    population: Annotated[int, Field(ge=4)] = Field(24, description="genomes of a generation")
    crossover: Annotated[float, Field(ge=0, le=1)] = Field(0.9, description="chance that two parents are mixed")
    mutation: Annotated[float, Field(ge=0, le=1)] = Field(0.06, description="chance that a gene changes")

    def explore(self, landscape: Landscape, generator: np.random.Generator) -> Exploration:
        algorithm = self._algorithm(landscape, generator)
        yield Ask(landscape.seeds(), seeded=True)
        infills = algorithm.ask()  # the seeds, which cost nothing now, and a sample
        told = yield Ask(infills.get("X").astype(int))
        while True:
            infills.set("F", np.where(np.isfinite(told), told, WORST))
            for individual in infills:
                individual.evaluated.add("F")
            algorithm.tell(infills=infills)
            infills = algorithm.ask()
            while infills is None:  # mating found nothing new: the space is close to exhausted
                yield Ask(landscape.sample(self.population, generator))
                infills = algorithm.ask()
            told = yield Ask(infills.get("X").astype(int))

    def _algorithm(self, landscape: Landscape, generator: np.random.Generator) -> Any:
        """Return pymoo's algorithm, ready to be asked; two genomes of one sub-network count as duplicates."""
        from pymoo.algorithms.moo.nsga2 import NSGA2
        from pymoo.core.duplicate import DefaultDuplicateElimination
        from pymoo.core.problem import Problem
        from pymoo.operators.crossover.ux import UniformCrossover
        from pymoo.operators.mutation.pm import PolynomialMutation
        from pymoo.operators.repair.rounding import RoundingRepair

        seeds = landscape.seeds()
        sample = landscape.sample(max(self.population - len(seeds), self.population // 2), generator)
        problem = Problem(n_var=landscape.genes, n_obj=2, xl=np.zeros(landscape.genes), xu=landscape.upper(), vtype=int)
        algorithm = NSGA2(
            pop_size=self.population,
            sampling=np.concatenate([seeds, sample]),
            crossover=UniformCrossover(prob=self.crossover),
            mutation=PolynomialMutation(prob_var=self.mutation, eta=3, repair=RoundingRepair()),
            eliminate_duplicates=DefaultDuplicateElimination(
                func=lambda first: landscape.canonical(first.get("X").astype(int)).astype(float)
            ),
        )
        algorithm.setup(problem, termination=("n_gen", 1_000_000), seed=int(generator.integers(2**31)), verbose=False)
        return algorithm
