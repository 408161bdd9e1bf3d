"""A synthetic landscape with the shape of a 32-layer model's.

What searchers are tested and compared on, without a model.
"""

from __future__ import annotations

import numpy as np

WIDTHS = np.array([6, 9, 12, 15, 18, 21, 24]) / 24


class Hills:
    """A landscape like a 32-layer model's: gene 0 drops layers, the others choose widths.

    Fitness = additive + pairs.
    """

    def __init__(self, layers: int = 32, drops: int = 8, levels: int = 7, ruggedness: float = 0.0, exact: bool = True):
        generator = np.random.default_rng(7)
        self.layers, self.drops, self.exact, self.ruggedness = layers, drops, exact, ruggedness
        self.genes, self.widths = 1 + layers, WIDTHS[-levels:]
        self.order = generator.permutation(layers)
        place = np.linspace(-1, 1, layers)
        self.need = (0.5 + 2 * place**4) * generator.lognormal(0, 0.6, layers)
        self.loss = self.need * generator.uniform(0.3, 1.0, layers)
        self.need, self.loss = self.need * 32 / layers, self.loss * 32 / layers
        pairs = generator.normal(0, 1, (layers, layers)) * np.exp(-np.abs(np.subtract.outer(place, place)) * 4)
        self.pairs = np.abs(pairs) / layers * 6
        self.waves = generator.integers(0, 1000, (layers, layers))

    def upper(self) -> np.ndarray:
        return np.array([self.drops, *[len(self.widths) - 1] * self.layers])

    def canonical(self, genomes: np.ndarray) -> np.ndarray:
        actual = genomes.copy()
        actual[:, 1:][self._dropped(genomes)] = 0
        return actual

    def _dropped(self, genomes: np.ndarray) -> np.ndarray:
        rank = np.argsort(self.order)  # when a layer is dropped
        return rank[None] < genomes[:, :1]

    def _kept(self, genomes: np.ndarray) -> np.ndarray:
        return np.where(self._dropped(genomes), 0, self.widths[genomes[:, 1:]])

    def sizes(self, genomes: np.ndarray) -> np.ndarray:
        kept = self._kept(genomes)
        return 0.04 + 0.96 * ((kept > 0) / 3 + kept * 2 / 3).mean(axis=1)

    def costs(self, genomes: np.ndarray) -> np.ndarray | None:
        return self.sizes(genomes) if self.exact else None

    def fitness(self, genomes: np.ndarray) -> np.ndarray:
        missing = 1 - self._kept(genomes)  # (n, layers)
        additive = missing**1.5 @ self.need + self._dropped(genomes) @ self.loss
        total = additive + np.einsum("ni,ij,nj->n", missing, self.pairs, missing)
        if self.ruggedness:
            phases = 7 * missing[:, :, None] + 11 * missing[:, None, :] + self.waves
            total = total * np.exp(self.ruggedness * np.sin(phases).sum(axis=(1, 2)) / self.layers)
        return np.log1p(total / 10)

    def seeds(self) -> np.ndarray:
        top, edge = len(self.widths) - 1, range(round(self.layers * 4 / 30), self.layers - max(1, self.layers // 15))
        rows = [[0, *[gene] * self.layers] for gene in range(top + 1)]
        rows += [[0, *[gene if i in edge else top for i in range(self.layers)]] for gene in range(top)]
        rows += [[drop, *[top] * self.layers] for drop in range(1, self.drops + 1)]
        return np.array([*rows, [self.drops, *[0] * self.layers]])

    def sample(self, count: int, generator: np.random.Generator) -> np.ndarray:
        level = (np.arange(count) + generator.random(count))[:, None] / count
        top = len(self.widths) - 1
        widths = np.clip(np.rint(generator.normal(level * top, 1.2, (count, self.layers))), 0, top)
        drops = generator.integers(0, 1 + ((1 - level) * self.drops).astype(int))
        return np.hstack([drops, widths]).astype(int)

    def uniform(self, count: int, generator: np.random.Generator) -> np.ndarray:
        return generator.integers(0, self.upper() + 1, (count, self.genes))

    def repair(self, genomes: np.ndarray, size: float, generator: np.random.Generator) -> np.ndarray:
        actual, top = genomes.copy(), len(self.widths) - 1
        rows = np.arange(len(actual))
        moves = np.tile(np.arange(1, self.genes), (len(actual), top))
        for gene in generator.permuted(moves, axis=1).T:
            gaps = size - self.sizes(actual)
            moved = actual.copy()
            moved[rows, gene] = np.clip(actual[rows, gene] + np.sign(gaps).astype(int), 0, top)
            better = np.abs(size - self.sizes(moved)) < np.abs(gaps)
            actual[better] = moved[better]
        return actual
