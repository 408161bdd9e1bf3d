"""What the best networks of a search keep, layer by layer and task by task.

The architecture histograms. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from reports.estimates import Values, after
from reports.search.searches import Record, column

QUARTER = 0.25
FEWEST = 8  # candidates below which a best quarter says nothing
EDGES = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)  # shares of a layer's width, each class without its lower end
CLASSES = ("none", "to 20 %", "20–40 %", "40–60 %", "60–80 %", "80–100 %")


@dataclass(frozen=True)
class Layers:
    """MLP width (n, layers) as a share of the widest in its layer, and whether attention stays.

    The widest is the widest tried. Whether attention stays is (n, layers) too.
    """

    width: Values
    attention: np.ndarray

    def histogram(self) -> Values:
        """The share of the networks (classes, layers) whose width is in each class, see CLASSES."""
        classes = np.searchsorted(EDGES, self.width - 1e-9)  # 0: nothing stays
        return np.stack([(classes == one).mean(axis=0) for one in range(len(CLASSES))])

    def chosen(self, mask: np.ndarray) -> Layers:
        """The same of some networks."""
        return Layers(self.width[mask], self.attention[mask])


def layers(records: Sequence[Record]) -> Layers:
    """What each network keeps of each physical layer.

    Widths relative to the widest of all the records given.
    """
    blocks = np.array([[block[:2] for block in record["architecture"][1]] for record in records])  # (n, layers, 2)
    widest = np.maximum(1, blocks[:, :, 1].max(axis=0))
    return Layers(blocks[:, :, 1] / widest, blocks[:, :, 0] > 0)


def best_quarter(values: Values, sizes: Values) -> np.ndarray:
    """The mask (n,) of the quarter with the lowest values for their size."""
    ranks = np.argsort(np.argsort(after(values, sizes), kind="stable"), kind="stable")
    return np.asarray(ranks < max(1, round(QUARTER * len(values))))


def near_front(records: Sequence[Record]) -> np.ndarray:
    """The mask (n,) of the quarter with the best fitness for its size."""
    return best_quarter(column(records, "fitness"), column(records, "parameters"))


@dataclass(frozen=True)
class Tastes:
    """Mean MLP width share by layer (layers,) of the best quarter for each task.

    Beside it are that of all candidates, and the noise.
    """

    tasks: dict[str, Values]
    everyone: Values
    chosen: int
    error: float  # typical standard error of a task's mean

    def spread(self) -> float:
        """The typical standard deviation between tasks, over layers: about `error` where tasks want the same."""
        return float(np.sqrt(np.stack(list(self.tasks.values())).var(axis=0, ddof=1).mean()))


def tastes(records: Sequence[Record], objective: str) -> Tastes | None:
    """What the best networks for each search task keep.

    None for fewer than two tasks or too few candidates.
    """
    names = list(records[0].get("tasks") or {}) if records else []
    if len(names) < 2 or len(records) < FEWEST:
        return None
    by_task, errors, shapes = {}, [], layers(records).width
    sizes = column(records, "parameters")
    for name in names:
        measures = [record["tasks"][name] for record in records]
        measure = objective if objective in measures[0] else "choice_error"
        assert measure in measures[0], "items have every measure; text is one task"
        values = column(measures, measure) * (-1 if measure == "accuracy" else 1)
        mine = shapes[best_quarter(values, sizes)]
        by_task[name] = mine.mean(axis=0)
        errors.append(mine.var(axis=0, ddof=1).mean() / len(mine))
    return Tastes(by_task, shapes.mean(axis=0), len(mine), float(np.sqrt(np.mean(errors))))
