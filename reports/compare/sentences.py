"""A comparison in plain English.

Who is better by how much, how significantly, and what so many items could show.
"""

from __future__ import annotations

import math

from harness.evaluation.paired import MCNEMAR, POWER
from reports import formats
from reports.compare.pairs import Comparison, Report, TaskComparison
from reports.likeness import unlike

UNITS = {"word_perplexity": "word", "byte_perplexity": "byte", "token_perplexity": "token"}


def sentences(report: Report, comparison: Comparison) -> list[str]:
    """Return the average's sentence, then those of tasks that stand out, or one that says none does.

    A task that is the only one has its sentence in any case.
    """
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
    kinds = {"share": "share", "bits": "bits a byte", "perplexity": f"nats a {UNITS.get(task.metric, 'unit')}"}
    return kinds.get(task.quantity.kind, task.metric)


def distance(task: TaskComparison) -> str:
    size, kind = task.difference.estimate, task.quantity.kind
    if size == 0:
        return "is level with"
    verdict = "better" if task.quantity.sign * size > 0 else "worse"
    if task.quantity.lossy:
        ratio = "" if kind == "bits" else f" (×{math.exp(size):.3f})"
        return f"is {abs(size):.4f} {unit(task)}{ratio} {verdict} than"
    if kind == "share":
        points = f"{100 * abs(size):.1f}"
        side = ("above" if size > 0 else "below") + (f" ({verdict})" if task.quantity.better == "lower" else "")
        return "is level with" if points == "0.0" else f"is {points} points {side}"
    return f"is {formats.significant(abs(size))} {'above' if size > 0 else 'below'} ({verdict})"


def score(task: TaskComparison, value: float) -> str:
    if task.quantity.kind == "share":
        return formats.percent(value)
    return f"{value:.2f}" if task.quantity.lossy else formats.significant(value)


def signed(task: TaskComparison, value: float | None) -> str:
    """Return a difference with its sign, in the unit of its task's metric.

    Accuracy is in points, nats and bits have four decimals, and everything else is in the metric's own unit.
    """
    if value is None or task.quantity.kind == "share":
        return formats.points(value)
    return (f"{value:+.4f}" if task.quantity.lossy else f"{value:+.4g}").replace("-", "−")


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
    gap = task.difference
    adjusted = f" (Holm {p_value(task.holm)} over {counted(tests)})" if tests > 1 else ""
    told = f"{gap.test} p{equal(gap.p)}{adjusted}"
    if gap.mcnemar is not None and gap.test != MCNEMAR:
        told += f" by clusters, as flips share passages or subjects (McNemar without them p{equal(gap.mcnemar)})"
    return told


def equal(p: float) -> str:
    return p_value(p) if p < 0.001 else f"={p_value(p)}"


def power(task: TaskComparison) -> str:
    gap = task.difference
    if gap.detectable is None:
        few = gap.binary or gap.clusters < 2
        return f"{gap.items} items {'are too few to show any difference' if few else 'do not say what they could show'}"
    size = f"{100 * gap.detectable:.1f} points"
    if task.quantity.kind != "share":
        size = f"{signed(task, gap.detectable).lstrip('+')} {unit(task)}"
    return f"{gap.items} items could show {size} or more"


def counted(tests: int) -> str:
    return f"{tests} test{'s' if tests != 1 else ''}"


def apart(report: Report) -> list[str]:
    """Return what makes numbers of another run than the reference's unlike its, whatever they are."""
    first = report.sides[0]
    return [
        f"unlike: {what} of {first.name} and {side.name}: {words}."
        for side in report.sides[1:]
        if side.run != first.run and side.record and first.record
        for what, words in unlike(first.record, side.record).items()
    ]


def notes(report: Report) -> list[str]:
    """Return what the columns mean, and what was left out."""
    tasks = [task for comparison in report.comparisons for task in comparison.tasks]
    losses = any(task.quantity.lossy for task in tasks)
    others = [task for task in tasks if task.quantity.kind == "mean"]
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
    for name, better in dict.fromkeys((task.metric, task.quantity.better) for task in others):
        told.append(f"{name}: in its own unit; {'above' if better == 'higher' else 'below'} zero is better.")
    if any(task.lost or task.gained for task in tasks):
        told.append("items: ✓ the right answer, ◀ the answer chosen.")
    if report.average_tests:
        told.append(
            "mean: every task counts alike, whatever its number of items; only shares of which more is better are in it."
        )
    told += apart(report)
    if report.left_out:
        told.append(f"left out: {', '.join(report.left_out)}.")
    return told
