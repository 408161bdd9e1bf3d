"""Each variant's mean over tasks of their headline metrics, and its paired difference to dense."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.evaluation import paired
from harness.evaluation.items import value
from harness.evaluation.statistics import bootstrap_means, interval
from harness.quantities import Quantity
from reports.variants import Row, is_dense

Items = list[dict[str, Any]]


def add_averages(
    rows: Sequence[Row], scored: Sequence[Items], metrics: Mapping[str, Quantity]
) -> NDArray[np.float64] | None:
    """Add `average`, `difference` and their intervals to the rows that have items.

    Return the draws (draws, rows).

    The average's own interval resamples items; a difference has the interval that it has everywhere, `paired`'s.
    Rows without items have NaN. None where no task's metric enters averages.
    """
    tasks = {name: metric for name, metric in metrics.items() if metric.averages}
    places = [index for index, items in enumerate(scored) if items]
    if not tasks or not places:
        return None
    samples, strata = [], []
    for seed, (name, metric) in enumerate(tasks.items()):
        values, clusters = _values(name, metric, [scored[index] for index in places])
        # a seed a task: the same weights for tasks of equal size would tie what is independent
        samples.append(bootstrap_means(values, clusters, seed=seed))
        strata.append((values, clusters))
    draws = np.full((len(samples[0]), len(rows)), np.nan)
    draws[:, places] = sum(samples) / len(tasks)
    dense = next((index for index in places if is_dense(rows[index])), None)
    for place, index in enumerate(places):
        row = rows[index]
        row["average_metric"] = ", ".join(f"{name} {metric.key}" for name, metric in tasks.items())
        row["average"] = float(np.mean([row[f"{name}.{metric.key}"] for name, metric in tasks.items()]))
        row["average_low"], row["average_high"] = interval(draws[:, index])
        if dense is not None:
            row |= _difference(strata, places.index(dense), place)
    return draws


def _values(name: str, metric: Quantity, scored: Sequence[Items]) -> tuple[NDArray[np.float64], NDArray[np.str_]]:
    """Return the values (variants, items) of the items that have the metric, and their clusters (items,)."""
    table = [[item for item in items if item["task"] == name] for items in scored]
    first = [item["item"] for item in table[0]]
    if any([item["item"] for item in items] != first for items in table):
        raise ValueError(f"{name}: the variants were scored on different items and cannot be compared")
    values = np.array([[value(item, metric) for item in items] for items in table])
    there = ~np.isnan(values)
    if (there != there[0]).any():
        raise ValueError(f"{name}: {metric.key} was judged of other items in some variants, so they cannot be compared")
    return values[:, there[0]], np.array([item["cluster"] for item in table[0]])[there[0]]


def _difference(
    strata: Sequence[tuple[NDArray[np.float64], NDArray[np.str_]]], dense: int, variant: int
) -> dict[str, float | None]:
    """Return the row's difference of means over the tasks to dense, with its interval.

    Dense differs from itself by nothing.
    """
    if variant == dense:
        return {"difference": 0.0, "difference_low": 0.0, "difference_high": 0.0}
    parts = [
        paired.difference(values[dense], values[variant], np.ones(len(clusters)), clusters)
        for values, clusters in strata
    ]
    gap = paired.mean_difference(parts)
    return {"difference": gap.estimate, "difference_low": gap.low, "difference_high": gap.high}
