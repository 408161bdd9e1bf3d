"""From a parameter budget to widths.

Every structured method solves for the same share of the dense parameters.
"""

from __future__ import annotations

from collections.abc import Callable

TOLERANCE = 0.005  # share of the dense parameters by which a structured result may miss its budget
UNIT = 8  # channels that layers keep at least; a width of 1 is legal and breaks quantizers


def check_budget(budget: float) -> float:
    """Return `budget`; ValueError outside (0, 1]."""
    if not 0 < budget <= 1:
        raise ValueError(f"budget must lie in (0, 1], not {budget}")
    return budget


def bisect(
    count: Callable[[float], int], target: float, *, low: float = 0.0, high: float = 1.0, rounds: int = 60
) -> float:
    """Return the ratio in [low, high] whose `count(ratio)` comes nearest to `target`.

    `count` falls as the ratio grows.
    """
    best = low
    for _ in range(rounds):
        middle = (low + high) / 2
        if abs(count(middle) - target) < abs(count(best) - target):
            best = middle
        if count(middle) > target:
            low = middle
        else:
            high = middle
    return min((best, low, high), key=lambda ratio: abs(count(ratio) - target))


def check_reached(parameters: int, dense: int, budget: float, what: str, tolerance: float = TOLERANCE) -> None:
    """Raise ValueError when the result misses the budget by more than `tolerance`.

    `tolerance` is a share of the dense parameters.
    """
    if abs(parameters - budget * dense) > tolerance * dense:
        raise ValueError(
            f"{what} cannot meet budget={budget}: {parameters:,} parameters are {parameters / dense:.1%} of {dense:,}; "
            f"the nearest budget it can meet is {parameters / dense:.3f}"
        )


def sparsity_for(budget: float, dense: int, prunable: int) -> float:
    """Return the share of zeros among `prunable` weights that leaves budget * dense non-zero parameters."""
    sparsity = (1 - budget) * dense / prunable
    if sparsity >= 1:
        raise ValueError(
            f"budget={budget} would need {sparsity:.0%} zeros in the decoder's linears; the smallest is {1 - prunable / dense:.3f}"
        )
    return sparsity
