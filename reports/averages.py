"""Each variant's mean over tasks of their headline metrics, and its paired difference to dense, by bootstrap over items."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.evaluation.items import is_loss, value
from harness.evaluation.statistics import bootstrap_means, interval
from reports.variants import Row, is_dense

Items = list[dict[str, Any]]


def add_averages(found: Sequence[Row], scored: Sequence[Items], metrics: dict[str, str]) -> NDArray[np.float64] | None:
    """Add `average`, `difference` and their intervals to the rows that have items; return the draws (draws, rows).

    Rows without items have NaN. None where no task's metric is a score.
    """
    tasks = {name: metric for name, metric in metrics.items() if not is_loss(metric)}
    places = [index for index, items in enumerate(scored) if items]
    if not tasks or not places:
        return None
    samples = []
    for seed, (name, metric) in enumerate(tasks.items()):
        table = [[item for item in scored[index] if item["task"] == name] for index in places]
        first = [item["item"] for item in table[0]]
        if any([item["item"] for item in items] != first for items in table):
            raise ValueError(f"{name}: the variants were scored on different items and cannot be compared")
        values = np.array([[value(item, metric) for item in items] for items in table])
        # a seed a task: the same weights for tasks of equal size would tie what is independent
        samples.append(bootstrap_means(values, np.array([item["cluster"] for item in table[0]]), seed=seed))
    draws = np.full((len(samples[0]), len(found)), np.nan)
    draws[:, places] = sum(samples) / len(tasks)
    dense = next((index for index in places if is_dense(found[index])), None)
    for index in places:
        row = found[index]
        row["average_metric"] = ", ".join(f"{name} {metric}" for name, metric in tasks.items())
        row["average"] = float(np.mean([row[f"{name}.{metric}"] for name, metric in tasks.items()]))
        row["average_low"], row["average_high"] = interval(draws[:, index])
    if dense is None:
        return draws
    for index in places:
        row = found[index]
        row["difference"] = row["average"] - found[dense]["average"]
        row["difference_low"], row["difference_high"] = interval(draws[:, index] - draws[:, dense])
    return draws
