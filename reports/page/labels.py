"""Where small labels go so that they cover neither points nor each other."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

SIDES = np.array([(1, 1), (1, -1), (-1, 1), (-1, -1), (1, 0), (-1, 0), (0, 1), (0, -1)])  # off the error bars first


def place(anchors: NDArray[np.float64], sizes: Sequence[tuple[float, float]], *, radius: float) -> NDArray[np.float64]:
    """Centres (n, 2) of labels of these sizes beside anchors (n, 2).

    Each takes, greedily, the least covered of 32 places.
    """
    taken = [box(anchor, (2 * radius, 2 * radius)) for anchor in anchors]
    centres = np.zeros_like(anchors)
    for i, (anchor, size) in enumerate(zip(anchors, sizes, strict=True)):
        candidates = [
            anchor + side * (reach * radius + np.array(size) / 2) for reach in (0.8, 1.1, 2.2, 3.5) for side in SIDES
        ]
        covered = [sum(overlap(box(c, size), other) for other in taken) for c in candidates]
        centres[i] = candidates[int(np.argmin(covered))]
        taken.append(box(centres[i], size))
    return centres


def box(centre: NDArray[np.float64], size: tuple[float, float]) -> tuple[float, float, float, float]:
    """Left, bottom, right, top."""
    (x, y), (width, height) = centre, size
    return x - width / 2, y - height / 2, x + width / 2, y + height / 2


def overlap(a: tuple[float, float, float, float], b: tuple[float, float, float, float]) -> float:
    """The area two boxes share."""
    return max(0.0, min(a[2], b[2]) - max(a[0], b[0])) * max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
