"""A difference of two variants has one interval, wherever it is printed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from stored_answers import BETTER, DENSE, METRICS

from harness.evaluation import paired
from harness.evaluation.items import scores
from harness.quantities import metric
from reports.compare.pairs import compare
from reports.compare.sides import Side
from reports.gate.checks import Limits
from reports.gate.checks import scores as gated
from reports.gate.measured import Measured
from reports.run.averages import add_averages
from reports.run.columns import summary_columns


def side(name: str, items: list[dict], tasks: tuple[str, ...]) -> Side:
    actual = {task: [row for row in items if row["task"] == task] for task in tasks}
    return Side(name, Path(name), actual, METRICS, name)


def row(name: str, items: list[dict], tasks: tuple[str, ...]) -> dict:
    actual = {"variant": name, "method": name, "quantizer": "none", "status": "ok"}
    for task in tasks:
        mine = scores([item for item in items if item["task"] == task], metric(METRICS[task]))
        actual |= {f"{task}.{key}": value for key, value in mine.items()}
    return actual


@pytest.mark.parametrize("tasks", [("piqa", "arc", "wikitext"), ("piqa", "wikitext"), ("arc",)])
def test_tables_compare_and_gate_have_the_same_interval(tasks):
    answers = {"dense": DENSE, "nas": BETTER}
    items = [[item for item in actual if item["task"] in tasks] for actual in answers.values()]
    rows = [row(name, actual, tasks) for name, actual in answers.items()]
    add_averages(rows, items, {task: metric(METRICS[task]) for task in tasks})
    sides = [side(name, actual, tasks) for name, actual in answers.items()]
    [comparison] = compare(sides).comparisons
    main = comparison.average or comparison.tasks[0]
    table = (rows[1]["difference"], rows[1]["difference_low"], rows[1]["difference_high"])
    assert table == (main.difference.estimate, main.difference.low, main.difference.high)
    checks = gated(Measured("nas", sides[0]), Measured("nas", sides[1]), Limits())
    actual = [
        check.score.difference for check in checks if check.kind == ("average" if comparison.average else "scores")
    ]
    assert (actual[0].low, actual[0].high) == table[1:]


def test_an_interval_of_few_items_holds_the_truth_as_often_as_it_says():
    """The reason for the rule: how often an interval over 20 items holds the truth.

    Student's holds it in about 95 % of all sets, the percentile bootstrap in about 92 %.
    """
    rng, held, trials = np.random.default_rng(0), 0, 400
    for _ in range(trials):
        change = rng.normal(0.1, 1.0, 20)
        actual = paired.difference(np.zeros(20), change, np.ones(20), np.arange(20))
        held += actual.low <= 0.1 <= actual.high
    assert held / trials == pytest.approx(0.95, abs=0.025)  # 400 trials see 95 % to 1.1 % (one sigma)


def test_dense_differs_from_itself_by_nothing():
    rows = [row("dense", DENSE, ("piqa",))]
    add_averages(rows, [[item for item in DENSE if item["task"] == "piqa"]], {"piqa": metric("acc")})
    assert (rows[0]["difference"], rows[0]["difference_low"], rows[0]["difference_high"]) == (0.0, 0.0, 0.0)


def test_batches_that_a_run_chose_have_columns_of_their_own():
    rows = [{"variant": "dense", "decode_ratio": 1.0, "decode_ratio_b16": 1.25, "decode_ratio_b16_low": 1.0}]
    assert [(column.header, column.better) for column in summary_columns(rows)] == [
        ("decode", "↑"),
        ("decode b16", "↑"),
    ]
