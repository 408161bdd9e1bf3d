"""Intervals for suite averages and their differences, from items alone: stratified paired bootstrap.

Pure.
"""

from __future__ import annotations

import numpy as np

from harness.evaluation.distributions import LEVEL

DRAWS = 2000


def bootstrap_means(values: np.ndarray, clusters: np.ndarray, *, draws: int = DRAWS, seed: int = 0) -> np.ndarray:
    """Return (draws, variants) means of `values` (variants, items).

    Whole clusters (items,) are resampled, with weights that all variants share.

    One weight matrix serves all variants, so differences between columns are paired.
    """
    _, index = np.unique(clusters, return_inverse=True)
    groups = int(index.max()) + 1
    sizes = np.bincount(index, minlength=groups).astype(float)
    sums = np.stack([np.bincount(index, weights=row, minlength=groups) for row in values])  # (variants, groups)
    weights = (
        np.random.default_rng(seed).multinomial(groups, np.full(groups, 1 / groups), size=draws).astype(float)
    )  # (draws, groups)
    return (weights @ sums.T) / (weights @ sizes)[:, None]


def interval(draws: np.ndarray, level: float = LEVEL) -> tuple[float, float]:
    """Return the percentile interval of bootstrap draws."""
    tail = (1 - level) / 2
    low, high = np.quantile(draws, [tail, 1 - tail])
    return float(low), float(high)


def ratio_interval(
    numerator: np.ndarray, denominator: np.ndarray, *, draws: int = DRAWS, seed: int = 0, level: float = LEVEL
) -> tuple[float, float, float]:
    """Return (median, low, high) of paired ratios (rounds,), the interval by bootstrap over rounds."""
    ratios = numerator / denominator
    picks = np.random.default_rng(seed).integers(0, len(ratios), size=(draws, len(ratios)))
    low, high = interval(np.median(ratios[picks], axis=1), level)
    return float(np.median(ratios)), low, high
