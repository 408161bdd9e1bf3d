"""What a searcher was told so far: canonical genomes, each once, with their objectives."""

from __future__ import annotations

import numpy as np

from harness.nas.searchers.base import Landscape, Told


class Archive:
    """Measured genomes by canonical form, in the order in which they were told.

    A genome told again is not added.
    """

    def __init__(self, landscape: Landscape) -> None:
        self.landscape = landscape
        self.genomes = np.empty((0, landscape.genes), dtype=int)
        self.objectives = np.empty((0, 2))
        self.sizes = np.empty(0)  # parameters as a share of the dense model's
        self._known: set[bytes] = set()

    def add(self, genomes: np.ndarray, told: Told) -> None:
        """Take in genomes (n, genes) and what was told of them (n, 2)."""
        new = self._new(genomes)
        keys = self._keys(genomes[new])
        self._known.update(row.tobytes() for row in keys)
        self.genomes = np.concatenate([self.genomes, keys])
        self.sizes = np.concatenate([self.sizes, self.landscape.sizes(keys)])
        self.objectives = np.concatenate([self.objectives, told[new]])

    def fresh(self, genomes: np.ndarray) -> np.ndarray:
        """Return the genomes (m, genes) that were not told yet, each sub-network once, in the order given."""
        return genomes[self._new(genomes)]

    def finite(self) -> np.ndarray:
        """Return the mask (n,) of the genomes that were not refused."""
        return np.asarray(np.isfinite(self.objectives).all(axis=1))

    def _keys(self, genomes: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(self.landscape.canonical(genomes), dtype=int)

    def _new(self, genomes: np.ndarray) -> list[int]:
        first: dict[bytes, int] = {}
        for index, row in enumerate(self._keys(genomes)):
            first.setdefault(row.tobytes(), index)
        return [index for key, index in first.items() if key not in self._known]
