"""NSGA-II on objectives that cost nothing, such as predictions.

Vectorised, 20,000 evaluations in about a second.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from harness.nas.searchers import crowding
from harness.nas.searchers.variation import crossed, mutated


def evolve(
    objectives_of: Callable[[np.ndarray], np.ndarray],
    upper: np.ndarray,
    first: np.ndarray,
    generator: np.random.Generator,
    *,
    population: int,
    crossover: float,
    mutation: float,
    evaluations: int,
) -> np.ndarray:
    """Return every genome (about `evaluations`, genes) that NSGA-II visits from `first` on.

    After Deb et al., 2002.

    `objectives_of` maps genomes (n, genes) to objectives (n, 2); parents win binary tournaments by rank and crowding.
    """
    living, scores = first, objectives_of(first)
    visited, count = [first], len(first)
    while count < evaluations:
        best = crowding.order(scores)[:population]
        living, scores = living[best], scores[best]  # best first, so that the lower index wins
        parents = generator.integers(0, len(living), (population, 2, 2)).min(axis=2)  # (population, 2)
        children = mutated(crossed(living[parents], crossover, generator), upper, mutation, generator)
        _, distinct = np.unique(np.concatenate([living, children]), axis=0, return_index=True)
        children = children[np.sort(distinct[distinct >= len(living)]) - len(living)]
        count += population
        if len(children):
            visited.append(children)
            living, scores = np.concatenate([living, children]), np.concatenate([scores, objectives_of(children)])
    return np.concatenate(visited)
