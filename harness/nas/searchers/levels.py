"""Genomes of one size: the best that was measured, and candidates brought to it."""

from __future__ import annotations

import numpy as np

from harness.nas.searchers.archive import Archive
from harness.nas.searchers.base import Landscape
from harness.pruning.budget import TOLERANCE


def best_near(archive: Archive, level: float) -> np.ndarray:
    """Return the measured genome (genes,) of the lowest fitness among those of that size.

    Or among the nearest to it.
    """
    gaps = np.where(archive.finite(), np.abs(archive.sizes - level), np.inf)
    near = gaps <= max(TOLERANCE, gaps.min())
    return archive.genomes[np.argmin(np.where(near, archive.objectives[:, 0], np.inf))]


def nearest(landscape: Landscape, genomes: np.ndarray, level: float) -> np.ndarray:
    """Return the genomes (n, genes), nearest in size to the level first."""
    return genomes[np.argsort(np.abs(landscape.sizes(genomes) - level), kind="stable")]


def at_level(archive: Archive, genomes: np.ndarray, level: float, generator: np.random.Generator) -> np.ndarray:
    """Return the genomes (m, genes) repaired to the level.

    Without those measured before or too far from it.

    In a space too coarse to come within the tolerance, the nearest ones count.
    """
    repaired = archive.landscape.repair(genomes, level, generator)
    gaps = np.abs(archive.landscape.sizes(repaired) - level)
    return archive.fresh(repaired[gaps <= max(TOLERANCE, gaps.min())])
