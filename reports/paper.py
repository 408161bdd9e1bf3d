"""A published table beside the same rows as measured here: scores, distances to dense, and whose order agrees. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Literal

from harness.evaluation import paired
from harness.evaluation.items import is_loss
from harness.papers import AVERAGE, Paper, PaperRow
from reports.compare import TaskComparison, compare
from reports.compare_sides import Side
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
    """A row of the table; scores are percent, perplexities as they are. `reason` says why nothing was measured."""

    recipe: str
    published: dict[str, float]  # by task, with `average`
    measured: dict[str, float]
    published_distance: dict[Measure, Distance]
    measured_distance: dict[Measure, Distance]
    reason: str = ""


@dataclass(frozen=True)
class Order:
    """Pairs of pruned rows, the one that is better as published first; `sure` ones by Holm's p over the pairs."""

    measure: Measure
    clusters: int = 0  # of items, the fewest of any pair
    agreeing: list[tuple[str, str]] = field(default_factory=list)
    sure: list[tuple[str, str]] = field(default_factory=list)  # of those that agree
    differing: list[tuple[str, str]] = field(default_factory=list)
    opposed: list[tuple[str, str]] = field(default_factory=list)  # of those that differ, surely


@dataclass(frozen=True)
class PaperTable:
    """The lines in the paper's order, dense first; `metrics` by task as measured here."""

    paper: Paper
    metrics: dict[str, str]
    lines: list[Line]
    orders: list[Order]


def beside(
    paper: Paper,
    rows: Sequence[Row],
    sides: Mapping[str, Side],
    metrics: Mapping[str, str],
    *,
    level: float = paired.LEVEL,
) -> PaperTable:
    """Return the paper's table beside the run's `rows`, matched by recipe; `sides` are the variants' items by name."""
    mine = {row["variant"]: row for row in rows}
    used = {task: metric for task, metric in metrics.items() if any(task in row.published for row in paper.rows)}
    used = used or dict(metrics)
    dense = paper.rows[0]
    lines = []
    for row in paper.rows:
        found = mine.get(row.recipe, {})
        distances = (
            _distances(sides[dense.recipe], sides[row.recipe], metrics, level) if _both(sides, dense, row) else {}
        )
        lines.append(
            Line(
                recipe=row.recipe,
                published=_published(row, metrics),
                measured=_measured(found, metrics),
                published_distance=_published_distances(dense, row, metrics),
                measured_distance=distances if row is not dense else {},
                reason="" if row.recipe in sides else str(found.get("reason") or "not in this run"),
            )
        )
    return PaperTable(paper, used, lines, _orders(paper, lines, sides, metrics, level))


def _both(sides: Mapping[str, Side], *rows: PaperRow) -> bool:
    return all(row.recipe in sides for row in rows)


def _published(row: PaperRow, metrics: Mapping[str, str]) -> dict[str, float]:
    scores = [row.published[task] for task in metrics if task in row.published and not is_loss(metrics[task])]
    mean = {AVERAGE: sum(scores) / len(scores)} if scores and AVERAGE not in row.published else {}
    return row.published | mean


def _measured(row: Row, metrics: Mapping[str, str]) -> dict[str, float]:
    found: dict[str, float] = {}
    for task, metric in metrics.items():
        if (value := number(row, f"{task}.{metric}")) is not None:
            found[task] = value if is_loss(metric) else 100 * value
    average = number(row, AVERAGE)
    return found | ({AVERAGE: 100 * average} if average is not None else {})


def _perplexity(metrics: Mapping[str, str]) -> str | None:
    """Return the task whose perplexity the tables compare: the first."""
    return next((task for task, metric in metrics.items() if is_loss(metric)), None)


def _published_distances(dense: PaperRow, row: PaperRow, metrics: Mapping[str, str]) -> dict[Measure, Distance]:
    if row is dense:
        return {}
    whole, here, task = _published(dense, metrics), _published(row, metrics), _perplexity(metrics)
    found: dict[Measure, Distance] = {}
    if AVERAGE in whole and AVERAGE in here:
        found["average"] = Distance(here[AVERAGE] - whole[AVERAGE])
    if task in whole and task in here:
        found["perplexity"] = Distance(here[task] / whole[task])
    return found


def _distances(dense: Side, side: Side, metrics: Mapping[str, str], level: float) -> dict[Measure, Distance]:
    found: dict[Measure, Distance] = {}
    for measure, score in _compared(dense, side, metrics, level).items():
        ends = score.difference.estimate, score.difference.low, score.difference.high
        if measure == "average":
            value, low, high = (None if end is None else 100 * end for end in ends)
        else:
            value, low, high = (None if end is None else math.exp(end) for end in ends)
        assert value is not None
        found[measure] = Distance(value, low, high)
    return found


def _compared(first: Side, second: Side, metrics: Mapping[str, str], level: float) -> dict[Measure, TaskComparison]:
    """Return the paired comparisons of the second with the first: of the average (or the only score) and the perplexity."""
    if first is second:
        return {}
    [comparison] = compare([first, second], tasks=list(metrics), level=level).comparisons
    scores = [task for task in comparison.tasks if not is_loss(task.metric)]
    main = comparison.average or (scores[0] if scores else None)
    loss = next((task for task in comparison.tasks if task.task == _perplexity(metrics)), None)
    found: dict[Measure, TaskComparison] = {}
    if main:
        found["average"] = main
    if loss:
        found["perplexity"] = loss
    return found


def _orders(
    paper: Paper, lines: Sequence[Line], sides: Mapping[str, Side], metrics: Mapping[str, str], level: float
) -> list[Order]:
    """Return, for each measure, how the published order of every pair of pruned rows fares here."""
    pairs = [(one, other) for one, other in combinations(lines[1:], 2) if {one.recipe, other.recipe} <= sides.keys()]
    tested = [(one, other, _compared(sides[one.recipe], sides[other.recipe], metrics, level)) for one, other in pairs]
    keys: dict[Measure, tuple[str, int]] = {
        "average": (AVERAGE, 1),
        "perplexity": (_perplexity(metrics) or "", -1),  # a smaller one is better
    }
    orders = []
    for measure, (key, sign) in keys.items():
        known = [
            (one, other, sign * (other.published[key] - one.published[key]), scores[measure])
            for one, other, scores in tested
            if measure in scores and key in one.published and key in other.published
        ]
        order = Order(measure, min((score.difference.clusters for *_, score in known), default=0))
        adjusted = paired.holm([score.difference.p for *_, score in known])
        for (one, other, published, score), p in zip(known, adjusted, strict=True):
            here = sign * score.difference.estimate
            names = (other.recipe, one.recipe) if published > 0 else (one.recipe, other.recipe)
            agrees = published * here > 0
            (order.agreeing if agrees else order.differing).append(names)
            if p < 1 - level:
                (order.sure if agrees else order.opposed).append(names)
        if known:
            orders.append(order)
    return orders
