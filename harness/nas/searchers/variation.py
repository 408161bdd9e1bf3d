"""How children come from parents: crossover, mutation, and level switches that keep the size. Pure."""

from __future__ import annotations

import numpy as np


def crossed(parents: np.ndarray, chance: float, generator: np.random.Generator) -> np.ndarray:
    """Return children (n, genes) of pairs (n, 2, genes).

    Uniform crossover with that chance, else the first parent.
    """
    mixed = generator.random(len(parents))[:, None] < chance
    other = generator.random((len(parents), parents.shape[2])) < 0.5
    return np.where(mixed & other, parents[:, 1], parents[:, 0])


def mutated(
    genomes: np.ndarray, upper: np.ndarray, chance: float, generator: np.random.Generator, *, least: int = 0
) -> np.ndarray:
    """Return genomes (n, genes), each gene moved with that chance, `least` genes of every row for certain.

    Half of the moves are one step, half go to any other level.
    """
    draws = generator.random(genomes.shape)
    moved = draws < np.maximum(chance, np.sort(draws, axis=1)[:, [least]] if least < draws.shape[1] else 1)
    step = generator.choice([-1, 1], genomes.shape)
    stepped = np.where((genomes + step < 0) | (genomes + step > upper), genomes - step, genomes + step)
    anywhere = (genomes + 1 + generator.integers(0, np.maximum(upper, 1), genomes.shape)) % (upper + 1)
    changed = np.where(generator.random(genomes.shape) < 0.5, stepped, anywhere)
    return np.clip(np.where(moved, changed, genomes), 0, upper)


def switched(
    parent: np.ndarray, upper: np.ndarray, count: int, most: int, generator: np.random.Generator
) -> np.ndarray:
    """Return children (count, genes) with k genes one step up and k down.

    k is the lesser of two draws from 1 to `most`.

    EvoPress's level switch (arXiv 2410.14649, algorithm 1): few switches are tried more often than many.
    """
    children = np.tile(parent, (count, 1))
    for child in children:
        for step in (1, -1) * int(generator.integers(1, most + 1, 2).min()):
            free = np.flatnonzero((child == parent) & (child + step >= 0) & (child + step <= upper))
            if len(free):
                child[generator.choice(free)] += step
    return children
