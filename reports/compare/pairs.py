"""Variants of a run against the first named, item by item.

What differs, how significantly, and which items flipped.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from harness.evaluation import paired
from harness.evaluation.distributions import LEVEL
from harness.evaluation.items import LN2, aggregate, present, units, value
from harness.evaluation.paired import Paired
from harness.quantities import AVERAGE, Quantity
from harness.words.nearest import nearest
from reports.compare.sides import Item, Side

Pair = tuple[Item, Item]  # the same item as the reference and the variant answered it
Pairs = list[Pair]


@dataclass(frozen=True)
class TaskComparison:
    """One task: both scores as the tables show them, their paired difference, and the items that flipped.

    `difference` is in the metric's own unit, except perplexities: nats per unit, whose exponential is their ratio.
    """

    task: str
    quantity: Quantity
    reference: float
    variant: float
    difference: Paired
    holm: float
    lost: Pairs  # the reference right and the variant wrong, or worse
    gained: Pairs

    @property
    def metric(self) -> str:
        """The metric's name; empty for a mean over several."""
        return "" if self.quantity == AVERAGE else self.quantity.key


@dataclass(frozen=True)
class Comparison:
    """A variant against the reference; `average` is over the accuracies, None for fewer than two of them."""

    reference: str
    variant: str
    tasks: list[TaskComparison]
    average: TaskComparison | None


@dataclass(frozen=True)
class Report:
    """All comparisons of one call."""

    sides: list[Side]
    level: float
    comparisons: list[Comparison]
    tests: int  # that each task's Holm p allows for
    average_tests: int
    left_out: list[str]


def compare(sides: Sequence[Side], *, tasks: Sequence[str] = (), metric: str = "", level: float = LEVEL) -> Report:
    """Return every side after the first compared with the first.

    They are compared on those of the `tasks` (all by default) that all sides have.

    ValueError when a task's items differ, when sides disagree about its headline metric, or for unknown names.
    """
    if not 0 < level < 1:
        raise ValueError(f"level must lie in (0, 1), not {level:g}")
    chosen, left_out = _tasks(sides, tasks)
    metrics = {}
    for task in chosen:
        name = metric or _headline(task, sides)
        kinds = [side.quantity(task, name) for side in sides]
        if not all(_holds(side.items[task], name) for side in sides):
            left_out.append(f"{task} (has no {name})")
        elif not kinds[0].better:
            left_out.append(f"{task} (nothing says whether more {name} is better)")
        elif any(kind != kinds[0] for kind in kinds):
            raise ValueError(f"{task}: the runs disagree about what {name} is: {' and '.join(map(_told, kinds))}")
        else:
            metrics[task] = kinds[0]
    if not metrics:
        known = sorted({name for side in sides for rows in side.items.values() for name in present(rows[0])})
        raise ValueError(
            f"metric {metric} is unknown; {nearest(metric, known)}"
            if metric and metric not in known
            else f"nothing to compare: {', '.join(left_out) or 'no items'}"
        )
    comparisons = [_compare(sides[0], side, metrics, level) for side in sides[1:]]
    return _adjusted(Report(list(sides), level, comparisons, 0, 0, left_out))


def _tasks(sides: Sequence[Side], wanted: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the tasks that all sides have, and of the others who has them."""
    every = list(dict.fromkeys(task for side in sides for task in side.items))
    unknown = [f"task {task} is unknown; {nearest(task, every)}" for task in wanted if task not in every]
    if unknown:
        raise ValueError("\n".join(unknown))
    chosen, left_out = [], []
    for task in wanted or every:
        having = [side.name for side in sides if task in side.items]
        if len(having) == len(sides):
            chosen.append(task)
        else:
            left_out.append(f"{task} (only in {', '.join(having)})")
    return chosen, left_out


def _headline(task: str, sides: Sequence[Side]) -> str:
    """Return the metric that the tables show of the task.

    A file outside of any store shows its most basic one.
    """
    named = {side.name: side.metrics[task] for side in sides if task in side.metrics}
    if len(set(named.values())) > 1:
        told = ", ".join(f"{metric} of {name}" for name, metric in named.items())
        raise ValueError(f"{task}: the runs show different metrics ({told}); choose one with metric=")
    return next(iter(named.values()), None) or present(sides[0].items[task][0])[0]


def _told(quantity: Quantity) -> str:
    return f"a {quantity.kind} of which {'more' if quantity.better == 'higher' else 'less'} is better"


def _holds(rows: Sequence[Item], metric: str) -> bool:
    """Tell whether the rows have all that the metric is made of; bytes were not always counted."""
    counted = metric not in ("byte_perplexity", "bits_per_byte") or bool(rows[0]["byte_lengths"])
    return counted and any(metric in present(row) for row in rows)


def aligned(task: str, reference: Side, variant: Side) -> Pairs:
    """Return the items of both by hash, part and number, never by position.

    ValueError when they are not the same.
    """
    first, second = (_by_item(task, side) for side in (reference, variant))
    if first.keys() != second.keys():
        alone = len(first.keys() - second.keys()), len(second.keys() - first.keys())
        raise ValueError(
            f"{task}: the variants were scored on different items and cannot be compared: {alone[0]} of {len(first)} "
            f"hashes only in {reference.name}, {alone[1]} of {len(second)} only in {variant.name}; "
            "limit=, the data, the number of shots or the prompts differ"
        )
    return [(first[key], second[key]) for key in sorted(first)]


def _by_item(task: str, side: Side) -> dict[tuple[str, int, str], Item]:
    by_item = {(row["part"], row["doc_id"], row["item"]): row for row in side.items[task]}
    if len(by_item) < len(side.items[task]):
        raise ValueError(f"{task}: {side.path} holds an item twice")
    return by_item


def _compare(reference: Side, variant: Side, metrics: dict[str, Quantity], level: float) -> Comparison:
    tasks = [_task(task, metric, aligned(task, reference, variant), level) for task, metric in metrics.items()]
    return Comparison(reference.name, variant.name, tasks, average(tasks, level))


def _task(task: str, metric: Quantity, pairs: Pairs, level: float) -> TaskComparison:
    every = np.array([[value(row, metric) for row in pair] for pair in pairs]).T  # (2, items)
    there = ~np.isnan(every)
    if not np.array_equal(*there):
        raise ValueError(
            f"{task}: {metric.key} was judged of other items in the two variants, so they cannot be paired"
        )
    pairs, values = [pair for pair, judged in zip(pairs, there[0], strict=True) if judged], every[:, there[0]]
    weights = np.array([[units(row, metric) for row in pair] for pair in pairs]).T
    if not np.array_equal(*weights):
        raise ValueError(f"{task}: the variants count different units ({metric.key}), so their tokenizers differ")
    scale = 1 / LN2 if metric.kind == "bits" else 1.0
    clusters = np.array([first["cluster"] for first, _ in pairs])
    difference = paired.compare(values[0] * scale, values[1] * scale, weights[0], clusters, level=level)
    change = metric.sign * (values[1] - values[0])  # above zero is better
    order = np.argsort(-np.abs(change), kind="stable")  # 0/1: as the items stand; else the largest first
    return TaskComparison(
        task=task,
        quantity=metric,
        reference=aggregate(values[0], weights[0], metric),
        variant=aggregate(values[1], weights[1], metric),
        difference=difference,
        holm=difference.p,
        lost=[pairs[index] for index in order if change[index] < 0],
        gained=[pairs[index] for index in order if change[index] > 0],
    )


def average(tasks: list[TaskComparison], level: float) -> TaskComparison | None:
    """Return the comparison of the mean over the accuracies among `tasks`.

    None for fewer than two of them.
    """
    parts = [task for task in tasks if task.quantity.averages]
    if len(parts) < 2:
        return None
    difference = paired.average([task.difference for task in parts], level=level)
    return TaskComparison(
        task=f"mean of {len(parts)} tasks",
        quantity=AVERAGE,
        reference=float(np.mean([task.reference for task in parts])),
        variant=float(np.mean([task.variant for task in parts])),
        difference=difference,
        holm=difference.p,
        lost=[pair for task in parts for pair in task.lost],
        gained=[pair for task in parts for pair in task.gained],
    )


def _adjusted(report: Report) -> Report:
    """Return the report with Holm's p.

    Over all variants and tasks, and for the averages over the variants.
    """
    each = [task for comparison in report.comparisons for task in comparison.tasks]
    averages = [comparison.average for comparison in report.comparisons if comparison.average]
    of_tasks = iter(paired.holm([task.difference.p for task in each]))
    of_averages = iter(paired.holm([task.difference.p for task in averages]))
    comparisons = [
        replace(
            comparison,
            tasks=[replace(task, holm=next(of_tasks)) for task in comparison.tasks],
            average=replace(comparison.average, holm=next(of_averages)) if comparison.average else None,
        )
        for comparison in report.comparisons
    ]
    return replace(report, comparisons=comparisons, tests=len(each), average_tests=len(averages))
