"""Pareto fronts and their hypervolume; by convention a cost comes first and a quality second."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from reports.variants import Row, number, ran

COSTS = ("byte", "parameters", "seconds", "flops", "perplexity", "tokens", "loss")


def front(points: NDArray[np.float64], maximise: Sequence[bool] = (False, True)) -> NDArray[np.bool_]:
    """Mask (n,) of the points (n, d) no other point dominates; equal points all stay, NaN never does."""
    cost = np.where(np.asarray(maximise), -points, points)  # (n, d), smaller is better
    no_worse = (cost[:, None] <= cost[None]).all(axis=-1)  # (n, n), [i, j]: i is no worse than j
    better = (cost[:, None] < cost[None]).any(axis=-1)
    dominated = (no_worse & better).any(axis=0)
    return np.asarray(~np.isnan(cost).any(axis=-1) & ~dominated)


def hypervolume(
    points: NDArray[np.float64], reference: Sequence[float], maximise: Sequence[bool] = (False, True)
) -> float:
    """Exact area between the front of points (n, 2) and the worst corner `reference`; NaN and worse points add 0."""
    worst = np.where(np.asarray(maximise), -np.asarray(reference), np.asarray(reference))
    cost = np.where(np.asarray(maximise), -points, points)
    cost = cost[(cost < worst).all(axis=-1)]
    cost = cost[front(cost, (False, False))]
    cost = cost[np.lexsort((cost[:, 1], cost[:, 0]))]
    tops = np.concatenate(([worst[1]], cost[:-1, 1]))  # the strip of each point ends where its left neighbour's began
    return float(((worst[0] - cost[:, 0]) * (tops - cost[:, 1])).sum()) if len(cost) else 0.0


def maximised(key: str) -> bool:
    """True where a larger value of this row key is better: throughput ratios and scores, not sizes or times."""
    return key.endswith("_ratio") or "_ratio_" in key or not any(cost in key for cost in COSTS)


def front_mask(rows: Sequence[Row], x: str, y: str = "average") -> list[bool]:
    """One flag a row: on the front of y against x; simulated, failed and unmeasured rows never are."""
    real = [ran(row) and not row.get("simulated") for row in rows]
    values = [[number(row, key) if keep else None for key in (x, y)] for row, keep in zip(rows, real, strict=True)]
    points = np.array(values, dtype=np.float64).reshape(len(rows), 2)  # None becomes NaN
    return [bool(flag) for flag in front(points, (maximised(x), maximised(y)))]


def front_rows(rows: Sequence[Row], x: str, y: str = "average") -> list[Row]:
    """The rows on the front of y against x, by rising x."""
    chosen = [row for row, keep in zip(rows, front_mask(rows, x, y), strict=True) if keep]
    return sorted(chosen, key=lambda row: float(row[x]))
