"""The multiple-choice knapsack: one level for each gene, the least loss within a size. Pure."""

from __future__ import annotations

import numpy as np


def knapsack(losses: np.ndarray, sizes: np.ndarray, genes: np.ndarray, limit: float) -> np.ndarray | None:
    """Return the chosen items' indices (genes,) of the least total loss; None if there are none.

    Their sizes add up to `limit` at most.

    Item i is a level of gene genes[i], with losses[i] and sizes[i]; exactly one item of every gene is chosen.
    """
    from scipy.optimize import Bounds, LinearConstraint, milp
    from scipy.sparse import csr_array

    items = np.arange(len(genes))
    each = csr_array((np.ones(len(genes)), (genes, items)))
    solution = milp(
        losses,
        integrality=np.ones(len(genes)),
        bounds=Bounds(0, 1),
        constraints=[LinearConstraint(each, 1, 1), LinearConstraint(sizes[None], ub=limit)],
    )
    return np.flatnonzero(solution.x > 0.5) if solution.x is not None else None
