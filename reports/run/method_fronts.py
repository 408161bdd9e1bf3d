"""How much of the plane of size and average each method's variants dominate, with paired intervals.

Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.evaluation.fronts import areas
from harness.evaluation.statistics import interval
from reports.estimates import Estimate
from reports.variants import Facts, Row, dense_row, number, one_line, ran, saves_nothing

PERCENT = 100
HEADERS = (("method", ""), ("variants", ""), ("hypervolume", "↑"), ("Δ hypervolume", "to the first"))  # title, below it
NOTE = (
    "hypervolume: area between a method's front and the corner of dense size and average 0, in points of average × share of dense "
    "bytes; with one average for all sizes, it is that average times the share saved by the smallest. Intervals (95 %) resample "
    "items, the same for all methods; Δ is paired. Methods at unlike budgets do not compare."
)


@dataclass(frozen=True)
class MethodFront:
    """One recipe over its budgets and quantizers."""

    recipe: str
    variants: int
    area: Estimate
    difference: Estimate | None  # to the first recipe; None for that one


def method_fronts(rows: Sequence[Row], draws: NDArray[np.float64]) -> list[MethodFront]:
    """Return each recipe's front in the order of the rows.

    `draws` (draws, rows) are bootstrap averages, NaN where none.
    """
    dense = dense_row(rows)
    whole = number(dense, "bytes_on_disk") if dense else None
    groups: dict[str, list[int]] = {}
    for index, row in enumerate(rows):
        complete = all(number(row, key) is not None for key in ("average", "bytes_on_disk"))
        if ran(row) and complete and not saves_nothing(row) and row.get("method") != "dense":
            groups.setdefault(row["recipe"], []).append(index)
    if not whole or not groups:
        return []
    fronts: list[MethodFront] = []
    first: tuple[float, NDArray[np.float64]] | None = None
    for recipe, places in groups.items():
        sizes = np.array([rows[index]["bytes_on_disk"] for index in places]) / whole
        value = PERCENT * float(areas(sizes, np.array([rows[index]["average"] for index in places])))
        sampled = PERCENT * areas(sizes, draws[:, places])
        area, change = Estimate(value, len(places), *interval(sampled)), None
        if first:
            change = Estimate(value - first[0], len(places), *interval(sampled - first[1]))
        fronts.append(MethodFront(recipe, len(places), area, change))
        first = first or (value, sampled)
    return fronts


def plain(fronts: Sequence[MethodFront]) -> list[dict[str, Any]]:
    """The fronts as JSON values."""
    return [asdict(each) for each in fronts]


def shown(facts: Facts) -> Sequence[MethodFront]:
    """The fronts that a table shows; none of fewer than two methods, which have nothing to compare."""
    fronts: Sequence[MethodFront] = facts.get("method_fronts") or []
    return fronts if len(fronts) > 1 else []


def lines(facts: Facts) -> list[tuple[str, ...]]:
    """The cells of a table under HEADERS."""
    return [
        (
            one_line(each.recipe),
            str(each.variants),
            each.area.text(2),
            each.difference.text(2) if each.difference else "",
        )
        for each in shown(facts)
    ]
