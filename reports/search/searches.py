"""Stored searches as numbers.

Which are comparable, hypervolume by evaluations, means over search seeds. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from harness.evaluation.fronts import front, hypervolume
from reports.estimates import Estimate, Values, mean

Record = dict[str, Any]
Search = dict[str, Any]  # records.json with `name`, `problem` and `evaluations`, see `rows`
SHARED = ("problem", "space", "objective", "cost", "reference")  # what searches must share to be compared


@dataclass(frozen=True)
class Curve:
    """Hypervolume (n,) after `spent` (n,) evaluations."""

    spent: Values
    area: Values

    def at(self, spent: Values) -> Values:
        """The hypervolume that each number of evaluations had reached; 0 before the first."""
        return np.concatenate(([0.0], self.area))[np.searchsorted(self.spent, spent + 1e-9, side="right")]

    def reach(self, area: float) -> float | None:
        """The evaluations after which the hypervolume was at least `area`; None where it never was."""
        enough = np.flatnonzero(self.area >= area - 1e-12)
        return float(self.spent[enough[0]]) if len(enough) else None


@dataclass(frozen=True)
class Strategy:
    """One way to search, with the searches that differ by nothing but their seed."""

    name: str
    searches: tuple[Search, ...]

    @property
    def curves(self) -> list[Curve]:
        """A curve a seed, of those that have a reference point."""
        return [curve(search) for search in self.searches if search["reference"] is not None and whole(search)]


def comparable(searches: Sequence[Search]) -> list[list[Search]]:
    """The searches in groups of one problem.

    The same super-network, items, space, objective, cost and reference point.
    """
    groups: dict[str, list[Search]] = {}
    for search in searches:
        groups.setdefault(repr([search.get(name) for name in SHARED]), []).append(search)
    return list(groups.values())


def strategies(group: Sequence[Search]) -> list[Strategy]:
    """The group by way of searching; ValueError where its searches are not comparable."""
    if len(comparable(group)) > 1:
        raise ValueError(f"searches are comparable only where they share {', '.join(SHARED)}")
    limits: dict[str, dict[float, list[Search]]] = {}
    for search in group:
        limits.setdefault(search["name"], {}).setdefault(search["limit"], []).append(search)
    return [
        Strategy(name if len(by_limit) == 1 else f"{name}, at most {limit:g} evaluations", tuple(searches))
        for name, by_limit in limits.items()
        for limit, searches in by_limit.items()
    ]


def whole(search: Search) -> list[Record]:
    """The candidates scored on the whole search set, in the order asked.

    The others' fitness is another quantity.
    """
    return [
        record
        for record in search["candidates"]
        if record["whole"] and record["fitness"] is not None and np.isfinite([record["fitness"], record["cost"]]).all()
    ]


def column(records: Sequence[Record], name: str) -> Values:
    """One number a record (n,); NaN where it is missing."""
    return np.array([np.nan if record.get(name) is None else record[name] for record in records], dtype=float)


def objectives(records: Sequence[Record]) -> Values:
    """Cost and fitness (n, 2), both minimised."""
    return np.stack([column(records, "cost"), column(records, "fitness")], axis=1)


def on_front(records: Sequence[Record]) -> np.ndarray:
    """The mask (n,) of the records that no other beats in both cost and fitness."""
    return front(objectives(records))


def moments(search: Search) -> Values:
    """The evaluations spent when each whole candidate was known, in the order asked.

    Candidates asked together are known one after the other; where some were scored in part only, none is known before
    the end of their batch.
    """
    batches: dict[float, list[bool]] = {}
    complete = {id(record) for record in whole(search)}
    for record in search["candidates"]:
        batches.setdefault(float(record["spent"]), []).append(id(record) in complete)
    starts = sorted(batches)
    counts: list[float] = []
    for start, end in zip(starts, [*starts[1:], float(search["evaluations"])], strict=True):
        spent = sum(batches[start])
        steps = np.arange(1, spent + 1) / spent if spent and all(batches[start]) else np.ones(spent)
        counts += (start + (end - start) * steps).tolist()
    return np.array(counts)


def curve(search: Search) -> Curve:
    """The hypervolume of (cost, fitness) below the stored reference point, by evaluations spent."""
    fitness, cost = search["reference"]
    best, areas, area = np.empty((0, 2)), [], 0.0
    for row in objectives(whole(search)):
        if not (best <= row).all(axis=1).any():  # else it adds nothing
            best = np.vstack([best, row])
            best = best[front(best)]
            area = hypervolume(best, np.array([cost, fitness]))
        areas.append(area)
    return Curve(moments(search), np.array(areas))


@dataclass(frozen=True)
class Band:
    """The mean hypervolume (n,) over seeds after `spent` (n,) evaluations.

    With a t interval where there is one.
    """

    spent: Values
    area: Values
    low: Values | None
    high: Values | None


def band(curves: Sequence[Curve]) -> Band:
    """The mean of the curves over the evaluations that all of them have made."""
    first, last = max(one.spent[0] for one in curves), min(one.spent[-1] for one in curves)
    spent = np.unique(np.concatenate([one.spent for one in curves]).round(6))
    spent = np.unique(np.append(spent[(spent >= first) & (spent <= last)], last))
    means = [mean(values) for values in np.stack([one.at(spent) for one in curves], axis=1)]  # (n, seeds) by row
    low, high = ([getattr(each, end) for each in means] for end in ("low", "high"))
    some = len(curves) > 1
    area = np.array([each.value for each in means])
    return Band(spent, area, np.array(low) if some else None, np.array(high) if some else None)


def over_seeds(
    estimates: Sequence[Estimate | None], average: Callable[[Sequence[float]], Estimate] = mean
) -> Estimate | None:
    """One seed's estimate as it is; of several their average, with the interval over seeds."""
    estimated = [each for each in estimates if each is not None]
    if len(estimated) < 2:
        return estimated[0] if estimated else None
    return average([each.value for each in estimated])
