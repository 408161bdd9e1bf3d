"""Which rows are on a front: of the average against a size, a speed, or what else a measure declares."""

from collections.abc import Sequence

import numpy as np

from harness.evaluation.fronts import front
from harness.measures.all_measures import quantity
from reports.variants import Row, number, ran, saves_nothing


def front_mask(rows: Sequence[Row], x: str, y: str = "average") -> list[bool]:
    """One flag a row: on the front of y against x.

    Simulated, emulated, failed and unmeasured rows never are.
    """
    assert quantity(x).fronts, x
    real = [ran(row) and not saves_nothing(row) for row in rows]
    values = [[number(row, key) if keep else None for key in (x, y)] for row, keep in zip(rows, real, strict=True)]
    points = np.array(values, dtype=np.float64).reshape(len(rows), 2)  # None becomes NaN
    return front(points * [-quantity(key).sign for key in (x, y)]).tolist()
