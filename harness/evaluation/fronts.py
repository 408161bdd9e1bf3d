"""Pareto fronts of two costs, both minimised, and the area that they dominate. Pure."""

from __future__ import annotations

import numpy as np


def front(costs: np.ndarray) -> np.ndarray:
    """Return the mask (n,) of the rows of `costs` (n, 2) that no other dominates.

    Equal rows are in it together.

    Rows with NaN or infinity are in no front and dominate nothing.
    """
    on_front = np.isfinite(costs).all(axis=1)
    places = np.flatnonzero(on_front)
    values = costs[places]
    order = np.lexsort((values[:, 1], values[:, 0]))
    first, second = values[order, 0], values[order, 1]
    begins = np.searchsorted(first, first)  # of the rows that share a first cost
    before = np.concatenate([[np.inf], np.minimum.accumulate(second)])[begins]  # best second cost at lower first costs
    on_front[places[order]] = (second == second[begins]) & (second < before)
    return on_front


def hypervolume(costs: np.ndarray, reference: np.ndarray) -> float:
    """Return the area that the rows (n, 2) dominate below `reference` (2,).

    Rows beyond it, and with NaN, add nothing.
    """
    inside = costs[(costs < reference).all(axis=1)]
    inside = np.unique(inside[front(inside)], axis=0)  # by rising first cost
    tops = np.concatenate([reference[1:2], inside[:-1, 1]])  # the strip of a row ends where its left neighbour's begins
    return float(((reference[0] - inside[:, 0]) * (tops - inside[:, 1])).sum())


def areas(sizes: np.ndarray, qualities: np.ndarray) -> np.ndarray:
    """Return the areas (...,) that points of `sizes` (n,) and `qualities` (..., n) dominate.

    Sizes are shares of a whole.

    The corner is size 1 and quality 0; points at or above size 1 add nothing.
    """
    order = np.argsort(sizes)
    places = np.append(np.minimum(sizes[order], 1.0), 1.0)
    best = np.maximum.accumulate(qualities[..., order], axis=-1)
    return np.asarray(best @ np.diff(places))
