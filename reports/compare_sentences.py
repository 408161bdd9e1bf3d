"""A comparison in plain English: who is better by how much, how surely, and what so many items could show."""

from __future__ import annotations

import math

from harness.evaluation.items import is_loss
from harness.evaluation.paired import MCNEMAR, POWER
from reports import formats
from reports.compare import Comparison, Report, TaskComparison

UNITS = {"word_perplexity": "word", "byte_perplexity": "byte", "token_perplexity": "token"}


def sentences(report: Report, comparison: Comparison) -> list[str]:
    """Return the average's sentence, then those of tasks that stand out, or of the only one, or that none does."""
    alpha = 1 - report.level
    told = []
    if comparison.average:
        told.append(sentence(report, comparison, comparison.average))
    clear = [task for task in comparison.tasks if task.holm < alpha or len(comparison.tasks) == 1]
    told += [sentence(report, comparison, task) for task in clear]
    if not clear:
        told.append(
            f"no single task differs for sure: no Holm-adjusted p over {counted(report.tests)} is below {alpha:.2g}"
        )
    return told


def sentence(report: Report, comparison: Comparison, task: TaskComparison) -> str:
    """Return one comparison as a sentence."""
    tests = report.average_tests if task is comparison.average else report.tests
    where = f"{task.task}: " if task is comparison.average else f"{task.task} ({task.metric}): "
    return (
        f"{where}{comparison.variant} {distance(task)} {comparison.reference} "
        f"({score(task, task.variant)} against {score(task, task.reference)}), {interval(task, report.level)}; "
        f"{probability(task, tests)}; {power(task)}"
    )


def unit(task: TaskComparison) -> str:
    """Return what a difference is counted in; an accuracy's is a share of items, shown in points."""
    if not is_loss(task.metric):
        return "share"
    return "bits a byte" if task.metric == "bits_per_byte" else f"nats a {UNITS.get(task.metric, 'unit')}"


def distance(task: TaskComparison) -> str:
    size = task.difference.estimate
    if size == 0:
        return "is level with"
    if is_loss(task.metric):
        ratio = "" if task.metric == "bits_per_byte" else f" (×{math.exp(size):.3f})"
        return f"is {abs(size):.4f} {unit(task)}{ratio} {'worse' if size > 0 else 'better'} than"
    points = f"{100 * abs(size):.1f}"
    return "is level with" if points == "0.0" else f"is {points} points {'above' if size > 0 else 'below'}"


def score(task: TaskComparison, value: float) -> str:
    return f"{value:.2f}" if is_loss(task.metric) else formats.percent(value)


def signed(task: TaskComparison, value: float | None) -> str:
    """Return a difference: points of accuracy, or nats or bits to four decimals."""
    if value is None or not is_loss(task.metric):
        return formats.points(value)
    return f"{value:+.4f}".replace("-", "−")


def bounds(task: TaskComparison) -> str:
    low, high = task.difference.low, task.difference.high
    return formats.MISSING if low is None or high is None else f"[{signed(task, low)}, {signed(task, high)}]"


def interval(task: TaskComparison, level: float) -> str:
    if task.difference.low is None:
        few = task.difference.clusters < 2
        return "one cluster of items: no interval" if few else "nothing varies over the items: no interval"
    return f"{100 * level:g} % {bounds(task)}"


def p_value(p: float) -> str:
    """Return 0.07, 0.012 or <0.001."""
    return "<0.001" if p < 0.001 else f"{p:.3f}" if p < 0.095 else f"{p:.2f}"


def probability(task: TaskComparison, tests: int) -> str:
    found = task.difference
    adjusted = f" (Holm {p_value(task.holm)} over {counted(tests)})" if tests > 1 else ""
    told = f"{found.test} p{equal(found.p)}{adjusted}"
    if found.mcnemar is not None and found.test != MCNEMAR:
        told += f" by clusters, as flips share passages or subjects (McNemar without them p{equal(found.mcnemar)})"
    return told


def equal(p: float) -> str:
    return p_value(p) if p < 0.001 else f"={p_value(p)}"


def power(task: TaskComparison) -> str:
    found = task.difference
    if found.detectable is None:
        few = found.binary or found.clusters < 2
        return (
            f"{found.items} items {'are too few to show any difference' if few else 'do not say what they could show'}"
        )
    size = f"{100 * found.detectable:.1f} points"
    if is_loss(task.metric):
        size = f"{found.detectable:.4f} {unit(task)}"
    return f"{found.items} items could show {size} or more"


def counted(tests: int) -> str:
    return f"{tests} test{'s' if tests != 1 else ''}"


def notes(report: Report) -> list[str]:
    """Return what the columns mean, and what was left out."""
    tasks = [task for comparison in report.comparisons for task in comparison.tasks]
    losses = any(is_loss(task.metric) for task in tasks)
    told = [
        "difference: variant minus reference, items paired; accuracies in points"
        + (", perplexities in nats a unit with the ratio (×), below zero is better." if losses else "."),
        f"{100 * report.level:g} %: Student's interval of the paired differences, clustered where items share a passage "
        "or subject (arXiv 2411.00640); without any flip, the exact bound.",
        "lost, gained: items only the reference, only the variant answers right (else: where it is worse, better).",
        "p: exact McNemar; with ~ a sign-flip test by clusters, where values are not 0/1 or flips share a cluster.",
        f"Holm: p adjusted over {counted(report.tests)} (variants × tasks)"
        + (f", of the mean over {counted(report.average_tests)}." if report.average_tests else "."),
        f"could show: smallest true difference that these items find with a power of {100 * POWER:g} %.",
    ]
    if any(task.lost or task.gained for task in tasks):
        told.append("items: ✓ the right answer, ◀ the answer chosen.")
    if report.average_tests:
        told.append("mean: every task counts alike, whatever its number of items; perplexities are not in it.")
    if report.left_out:
        told.append(f"left out: {', '.join(report.left_out)}.")
    return told
