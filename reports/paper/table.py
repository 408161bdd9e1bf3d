"""A published table beside the same rows as measured here.

Scores, distances to dense, and whose order agrees. Pure.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Literal

from harness.evaluation import paired
from harness.evaluation.distributions import LEVEL
from harness.papers import AVERAGE, Paper, PaperRow
from harness.quantities import Quantity
from harness.quantities import metric as named
from reports.compare.pairs import TaskComparison, compare
from reports.compare.sides import Side
from reports.variants import Row, number

Measure = Literal["average", "perplexity"]


@dataclass(frozen=True)
class Distance:
    """From dense: points of the average, or the ratio of perplexities; an interval where it was measured."""

    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Line:
    """A row of the table; `reason` says why nothing was measured.

    Scores are in percent, perplexities as they are.
    """

    recipe: str
    published: dict[str, float]  # by task, with `average`
    measured: dict[str, float]
    published_distance: dict[Measure, Distance]
    measured_distance: dict[Measure, Distance]
    reason: str = ""


@dataclass(frozen=True)
class Order:
    """Pairs of pruned rows, the one that is better as published first.

    `sure` ones by Holm's p over the pairs.
    """

    measure: Measure
    clusters: int = 0  # of items, the fewest of any pair
    agreeing: list[tuple[str, str]] = field(default_factory=list)
    sure: list[tuple[str, str]] = field(default_factory=list)  # of those that agree
    differing: list[tuple[str, str]] = field(default_factory=list)
    opposed: list[tuple[str, str]] = field(default_factory=list)  # of those that differ significantly


@dataclass(frozen=True)
class PaperTable:
    """The lines in the paper's order, dense first; `metrics` by task as measured here."""

    paper: Paper
    metrics: dict[str, Quantity]
    lines: list[Line]
    orders: list[Order]


def beside(
    paper: Paper,
    rows: Sequence[Row],
    sides: Mapping[str, Side],
    metrics: Mapping[str, str],
    *,
    level: float = LEVEL,
) -> PaperTable:
    """Return the paper's table beside the run's `rows`, matched by recipe.

    `sides` are the variants' items by name.

    Both averages are over the paper's tasks that the run has (over all of the run's where the paper names none); a
    published average stands only where the run has all of them.
    """
    mine = {row["variant"]: row for row in rows}
    tasks = {task for row in paper.rows for task in row.published} - {AVERAGE}
    side = next(iter(sides.values()), None)
    kinds = {task: side.quantity(task, name) if side else named(name) for task, name in metrics.items()}
    nameless = all(kinds[task].lossy for task in tasks & metrics.keys())
    shared = {task: kind for task, kind in kinds.items() if task in tasks or (nameless and kind.averages)}
    published = [_published(row, shared, whole=tasks <= metrics.keys()) for row in paper.rows]
    dense, lines = paper.rows[0].name, []
    for row, told in zip(paper.rows, published, strict=True):
        measured, pruned = mine.get(row.name, {}), row.name != dense
        both = pruned and {dense, row.name} <= sides.keys()
        lines.append(
            Line(
                recipe=row.name,
                published=told,
                measured=_measured(measured, shared),
                published_distance=_published_distances(published[0], told, shared) if pruned else {},
                measured_distance=_distances(sides[dense], sides[row.name], shared, level) if both else {},
                reason="" if row.name in sides else str(measured.get("reason") or "not in this run"),
            )
        )
    return PaperTable(paper, shared, lines, _orders(lines, sides, shared, level))


def _published(row: PaperRow, metrics: Mapping[str, Quantity], *, whole: bool) -> dict[str, float]:
    values = {task: value for task, value in row.published.items() if task in metrics or (task == AVERAGE and whole)}
    return values if AVERAGE in values else values | _average(values, metrics)


def _measured(row: Row, metrics: Mapping[str, Quantity]) -> dict[str, float]:
    values: dict[str, float] = {}
    for task, metric in metrics.items():
        if (value := number(row, f"{task}.{metric.key}")) is not None:
            values[task] = value * metric.scale
    return values | _average(values, metrics)


def _average(scores: Mapping[str, float], metrics: Mapping[str, Quantity]) -> dict[str, float]:
    """Return the mean of the accuracies, where all of them are there."""
    tasks = [task for task, metric in metrics.items() if metric.averages]
    if not tasks or not scores.keys() >= set(tasks):
        return {}
    return {AVERAGE: sum(scores[task] for task in tasks) / len(tasks)}


def _perplexity(metrics: Mapping[str, Quantity]) -> str | None:
    """Return the task whose perplexity the tables compare: the first."""
    return next((task for task, metric in metrics.items() if metric.kind == "perplexity"), None)


def _published_distances(
    dense: Mapping[str, float], row: Mapping[str, float], metrics: Mapping[str, Quantity]
) -> dict[Measure, Distance]:
    distances: dict[Measure, Distance] = {}
    if AVERAGE in dense and AVERAGE in row:
        distances["average"] = Distance(row[AVERAGE] - dense[AVERAGE])
    task = _perplexity(metrics)
    if task and task in dense and task in row:
        distances["perplexity"] = Distance(row[task] / dense[task])
    return distances


def _distances(dense: Side, side: Side, metrics: Mapping[str, Quantity], level: float) -> dict[Measure, Distance]:
    distances: dict[Measure, Distance] = {}
    for measure, score in _compared(dense, side, metrics, level).items():
        ends = score.difference.estimate, score.difference.low, score.difference.high
        if measure == "average":
            value, low, high = (None if end is None else 100 * end for end in ends)
        else:
            value, low, high = (None if end is None else math.exp(end) for end in ends)
        assert value is not None
        distances[measure] = Distance(value, low, high)
    return distances


def _compared(
    first: Side, second: Side, metrics: Mapping[str, Quantity], level: float
) -> dict[Measure, TaskComparison]:
    """Return the paired comparisons of the second with the first.

    Of the average (or the only score) and the perplexity.
    """
    [comparison] = compare([first, second], tasks=list(metrics), level=level).comparisons
    scores = [task for task in comparison.tasks if task.quantity.averages]
    main = comparison.average or (scores[0] if scores else None)
    loss = next((task for task in comparison.tasks if task.task == _perplexity(metrics)), None)
    comparisons: dict[Measure, TaskComparison] = {}
    if main:
        comparisons["average"] = main
    if loss:
        comparisons["perplexity"] = loss
    return comparisons


def _orders(
    lines: Sequence[Line], sides: Mapping[str, Side], metrics: Mapping[str, Quantity], level: float
) -> list[Order]:
    """Return, for each measure, how the published order of every pair of pruned rows fares here.

    Published ties have none.
    """
    pairs = [(one, other) for one, other in combinations(lines[1:], 2) if {one.recipe, other.recipe} <= sides.keys()]
    tested = [(one, other, _compared(sides[one.recipe], sides[other.recipe], metrics, level)) for one, other in pairs]
    keys: dict[Measure, tuple[str, int]] = {
        "average": (AVERAGE, 1),
        "perplexity": (_perplexity(metrics) or "", -1),  # a smaller one is better
    }
    orders = []
    for measure, (key, sign) in keys.items():
        ordered = [
            (one, other, sign * (other.published[key] - one.published[key]), scores[measure])
            for one, other, scores in tested
            if measure in scores and key in one.published and key in other.published
            if one.published[key] != other.published[key]
        ]
        order = Order(measure, min((score.difference.clusters for *_, score in ordered), default=0))
        adjusted = paired.holm([score.difference.p for *_, score in ordered])
        for (one, other, published, score), p in zip(ordered, adjusted, strict=True):
            here = sign * score.difference.estimate
            names = (other.recipe, one.recipe) if published > 0 else (one.recipe, other.recipe)
            agrees = published * here > 0
            (order.agreeing if agrees else order.differing).append(names)
            if p < 1 - level:
                (order.sure if agrees else order.opposed).append(names)
        if ordered:
            orders.append(order)
    return orders
