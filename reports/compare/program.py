"""A comparison for a program: everything, unrounded."""

from __future__ import annotations

import json
import math
from typing import Any

from harness.evaluation.paired import POWER
from reports.compare.flips import Flip, flips
from reports.compare.pairs import Comparison, Report, TaskComparison
from reports.compare.sentences import apart, sentence, sentences, unit
from reports.compare.sides import Item
from reports.plain import plain

RATIO = ("estimate", "low", "high")


def json_report(report: Report, *, examples: int) -> str:
    """Return everything: unrounded numbers, every flipped item, and `examples` of them whole."""
    content = {
        "reference": report.sides[0].name,
        "level": report.level,
        "power": POWER,
        "tests": report.tests,
        "average_tests": report.average_tests,
        "left_out": report.left_out,
        "unlike": apart(report),
        "sides": [{"name": side.name, "run": side.run, "items": str(side.path)} for side in report.sides],
        "comparisons": [_plain(report, comparison, examples) for comparison in report.comparisons],
    }
    return json.dumps(plain(content), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _plain(report: Report, comparison: Comparison, examples: int) -> dict[str, Any]:
    average = comparison.average
    return {
        "reference": comparison.reference,
        "variant": comparison.variant,
        "summary": sentences(report, comparison),
        "average": _numbers(report, comparison, average) if average else None,
        "tasks": [
            _numbers(report, comparison, task)
            | {
                name: [_name(pair[0]) for pair in pairs]
                for name, pairs in (("lost", task.lost), ("gained", task.gained))
            }
            for task in comparison.tasks
        ],
        "flips": [_flip(flip) for flip in flips(comparison, examples)],
    }


def _numbers(report: Report, comparison: Comparison, task: TaskComparison) -> dict[str, Any]:
    gap = task.difference
    names = ("estimate", "stderr", "low", "high", "freedom", "detectable", "items", "clusters", "test", "p")
    numbers = {name: getattr(gap, name) for name in names}
    bounds = (gap.estimate, gap.low, gap.high)
    ratios = [None if bound is None else math.exp(bound) for bound in bounds]
    return {
        "task": task.task,
        "metric": task.metric,
        "better": task.quantity.better,
        "smaller_is_better": task.quantity.better == "lower",
        "unit": unit(task),
        "reference": task.reference,
        "variant": task.variant,
        **numbers,
        "ratio": dict(zip(RATIO, ratios, strict=True)) if task.quantity.kind == "perplexity" else None,
        "mcnemar_p": gap.mcnemar,
        "holm_p": task.holm,
        "lost_count": len(task.lost),
        "gained_count": len(task.gained),
        "sentence": sentence(report, comparison, task),
    }


def _name(row: Item) -> dict[str, Any]:
    return {name: row[name] for name in ("part", "doc_id", "item")}


def _flip(flip: Flip) -> dict[str, Any]:
    shared = ("task", "part", "doc_id", "item", "question", "choices", "target", "labels")
    own = ("loglikelihoods", "lengths", "prediction", "prediction_norm", "response")
    sides = [
        {name: row[name] for name in own} | {"value": worth} for row, worth in zip(flip.rows, flip.values, strict=True)
    ]
    return {
        "lost": flip.lost,
        "metric": flip.metric,
        **{name: flip.rows[0][name] for name in shared},
        "reference": sides[0],
        "variant": sides[1],
    }
