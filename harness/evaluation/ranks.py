"""Statistics of ranks: Kendall's tau-b, Spearman's rho, and the test of Mann and Whitney. Pure."""

from __future__ import annotations

import numpy as np
from scipy import special

BLOCK = 512  # rows of the matrix of pairs that are held at once
FEW = 8  # values of a group, up to which the exact distribution is counted


def kendall(one: np.ndarray, other: np.ndarray) -> float:
    """Return Kendall's tau-b (1945) of values (n,), ties corrected for.

    NaN where either has one value only.
    """
    together = ordered_one = ordered_other = 0
    for start in range(0, len(one), BLOCK):
        first, second = (np.sign(values[start : start + BLOCK, None] - values) for values in (one, other))  # (block, n)
        together += int((first * second).sum())
        ordered_one += int(np.abs(first).sum())
        ordered_other += int(np.abs(second).sum())
    if not ordered_one or not ordered_other:
        return float("nan")
    return together / np.sqrt(ordered_one) / np.sqrt(ordered_other)


def spearman(one: np.ndarray, other: np.ndarray) -> float:
    """Return Spearman's rank correlation of values (n,).

    Pearson's of their ranks, ties sharing the mean of theirs.
    """
    return float(np.corrcoef(ranks(one), ranks(other))[0, 1])


def ranks(values: np.ndarray) -> np.ndarray:
    """Return the ranks (n,) of `values` from 1 on."""
    _, place, count = np.unique(values, return_inverse=True, return_counts=True)
    return (count.cumsum() - (count - 1) / 2)[place]


def mann_whitney(one: np.ndarray, other: np.ndarray) -> float:
    """Return the two-sided p that values (n,) and (m,) come from one distribution.

    After Mann and Whitney, 1947.

    Exact for at most FEW values in the smaller group and no ties; otherwise normal, corrected for ties and for continuity.
    """
    n, m = len(one), len(other)
    together = np.concatenate([one, other])
    statistic = float(ranks(together)[:n].sum()) - n * (n + 1) / 2
    most = max(statistic, n * m - statistic)
    counts = np.unique(together, return_counts=True)[1]
    if min(n, m) <= FEW and counts.max() == 1:
        ways = _ways(n, m)
        return min(1.0, 2 * float(ways[int(most) :].sum() / ways.sum()))
    total = n + m
    deviation = np.sqrt(n * m / 12 * (total + 1 - float((counts**3 - counts).sum()) / (total * (total - 1))))
    if deviation == 0:
        return 1.0
    return min(1.0, 2 * float(special.ndtr(-(most - n * m / 2 - 0.5) / deviation)))


def _ways(n: int, m: int) -> np.ndarray:
    """Return how many orders of n and m values have each rank sum's excess 0 .. n * m.

    A Gaussian binomial coefficient.
    """
    ways = np.ones(1)
    for part in range(1, n + 1):
        grown = np.zeros(len(ways) + m + part)
        grown[: len(ways)] = ways
        grown[m + part :] -= ways  # times 1 - q^(m + part)
        ways = grown[: len(grown) - part].copy()
        for place in range(part, len(ways)):  # divided by 1 - q^part
            ways[place] += ways[place - part]
    return ways
