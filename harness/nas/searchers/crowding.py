"""Pareto fronts of objectives (n, 2), both minimised: ranks and crowding. Rows of inf are in no front.

Pure.
"""

from __future__ import annotations

import moocore
import numpy as np


def ranks(objectives: np.ndarray) -> np.ndarray:
    """Return the non-dominated rank (n,) of each row, 0 for the front (Deb et al., 2002)."""
    return moocore.pareto_rank(np.asarray(objectives, dtype=float))


def crowding(objectives: np.ndarray) -> np.ndarray:
    """Return the crowding distance (n,) of each row among the rows of its rank, inf at both ends.

    After Deb et al., 2002.

    Objectives are scaled by their range over all finite rows; a row with inf has distance 0.
    """
    distance = np.zeros(len(objectives))
    finite = np.flatnonzero(np.isfinite(objectives).all(axis=1))
    if not len(finite):
        return distance
    span = np.ptp(objectives[finite], axis=0)
    scaled = objectives[finite] / np.where(span > 0, span, 1)
    rank = ranks(scaled)
    order = np.lexsort((scaled[:, 1], scaled[:, 0], rank))  # within a rank the second objective falls
    gaps = np.abs(np.diff(scaled[order], axis=0)).sum(axis=1)
    gaps[np.diff(rank[order]) > 0] = np.inf
    distance[finite[order]] = np.append(np.inf, gaps) + np.append(gaps, np.inf)
    return distance


def order(objectives: np.ndarray) -> np.ndarray:
    """Return the rows' indices (n,), best first: by rank, then the least crowded."""
    return np.lexsort((-crowding(objectives), ranks(objectives)))


def spread(objectives: np.ndarray, count: int) -> np.ndarray:
    """Return the indices of `count` rows of the lowest ranks.

    The most crowded of the last rank leave one at a time.
    """
    rank = ranks(objectives)
    chosen = np.flatnonzero(rank <= np.partition(rank, count - 1)[count - 1] if len(rank) > count else rank >= 0)
    while len(chosen) > count:
        last = rank[chosen] == rank[chosen].max()
        chosen = np.delete(chosen, np.argmin(np.where(last, crowding(objectives[chosen]), np.inf)))
    return chosen
