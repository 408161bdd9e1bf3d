"""A comparison for a terminal and for Markdown."""

from __future__ import annotations

import math
from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from harness.evaluation.paired import MCNEMAR, POWER
from reports import formats
from reports.compare.flips import Flip, flips, shortened
from reports.compare.pairs import Comparison, Report, TaskComparison
from reports.compare.sentences import bounds, notes, p_value, score, sentences, signed
from reports.grid import Cell, Fitted, Head, Line
from reports.pipes import escaped, pipes
from reports.variants import one_line

LONGEST_HEAD = 16
KINDS = {"share": "points", "perplexity": "nats", "bits": "bits", "mean": "own unit"}  # what differences are counted in
RATIO_HEAD = "difference ±"  # what the grid calls the detail of that column


def heads(report: Report, comparison: Comparison) -> list[Head]:
    """Return the columns behind the task, and which may go first where the width is short."""
    kinds = {KINDS[task.quantity.kind] for task in comparison.tasks}
    return [
        Head("metric", "", 8),
        Head("items", "", 3),
        Head(*_named(comparison.reference, "reference"), 5),
        Head(*_named(comparison.variant, "variant"), 6),
        Head("difference", ", ".join(sorted(kinds, reverse=True)), 12, 1),
        Head(f"{100 * report.level:g} %", "", 11),
        Head("lost", "items", 7),
        Head("gained", "items", 7.5),
        Head("p", "", 2),
        Head("Holm", f"of {report.tests}", 10),
        Head("could show", f"{100 * POWER:g} % power", 4),
    ]


def _named(side: str, role: str) -> tuple[str, str]:
    """Return a column's two header lines.

    A long name stands in the title alone, to leave room for numbers.
    """
    return (one_line(side), role) if len(side) <= LONGEST_HEAD else (role, "")


def lines(comparison: Comparison) -> list[Line]:
    """Return the table's rows, the average last."""
    tasks = [Line(one_line(task.task), "", _cells(task)) for task in comparison.tasks]
    average = comparison.average
    return [*tasks, *([Line(average.task, "", _cells(average), style="bold")] if average else [])]


def _cells(task: TaskComparison) -> list[Cell]:
    gap = task.difference
    ratio = f"×{math.exp(gap.estimate):.3f}" if task.quantity.kind == "perplexity" else ""
    return [
        *(Cell(task.metric), Cell(str(gap.items))),
        *(Cell(score(task, task.reference)), Cell(score(task, task.variant))),
        *(Cell(signed(task, gap.estimate), ratio), Cell(bounds(task))),
        *(Cell(str(len(task.lost))), Cell(str(len(task.gained)))),
        *(Cell(("" if gap.test == MCNEMAR else "~") + p_value(gap.p)), Cell(p_value(task.holm))),
        Cell(formats.MISSING if gap.detectable is None else signed(task, gap.detectable).lstrip("+")),
    ]


def title(report: Report, comparison: Comparison) -> str:
    runs = {side.name: side.run or str(side.path) for side in report.sides}
    first, second = runs[comparison.reference], runs[comparison.variant]
    place = f"run {first}" if first == second else f"{first} and {second}"
    return one_line(f"{comparison.variant} against {comparison.reference} · {place}")


def rich_report(report: Report, *, examples: int) -> RenderableType:
    """Return the table, the sentences and flipped items of every comparison, and the footnotes once."""
    parts: list[RenderableType] = []
    for comparison in report.comparisons:
        parts += [Text(title(report, comparison), style="bold"), Text(), _numbers(report, comparison), Text()]
        parts += [Text(f"{told}.") for told in sentences(report, comparison)]
        parts.append(Text())
        for flip in flips(comparison, examples):
            parts += [_shown(flip, comparison), Text()]
    return Group(*parts, *(Text(note, style="dim") for note in notes(report)))


def _numbers(report: Report, comparison: Comparison) -> Fitted:
    return Fitted(heads(report, comparison), lines(comparison), {RATIO_HEAD: "ratio"})


def heading(flip: Flip, comparison: Comparison) -> str:
    """Return which item this is and who was right, or what its value became."""
    part = "" if flip.part == flip.task else f" · {flip.part}"
    right, wrong = (comparison.reference, comparison.variant)[:: 1 if flip.lost else -1]
    became = f"right by {right}, wrong by {wrong}"
    if not set(flip.values) <= {0.0, 1.0}:
        became = f"{flip.metric} {flip.values[0]:.3f} by {comparison.reference}, {flip.values[1]:.3f} by {comparison.variant}"
    return one_line(
        f"{'lost' if flip.lost else 'gained'} · {flip.task}{part} · item {flip.doc_id}, {flip.item} · {became}"
    )


def _shown(flip: Flip, comparison: Comparison) -> RenderableType:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for index, name in enumerate(("", flip.measure, comparison.reference, comparison.variant)):
        table.add_column(Text(name, style="dim"), justify="right" if index > 1 else "left", overflow="fold")
    for choice in flip.choices:
        scores = [Text(mark(*pair)) for pair in zip(choice.scores, choice.chosen, strict=True)]
        table.add_row("✓" if choice.right else "", Text(shortened(choice.text)), *scores)
    said = [
        Padding(Text(f"{side} said: {shortened(response)}"), (0, 0, 0, 2), expand=False)
        for side, response in _responses(flip, comparison)
    ]
    parts: list[RenderableType] = [Text(heading(flip, comparison), style="red" if flip.lost else "green")]
    parts.append(Padding(Text(shortened(flip.question)), (0, 0, 0, 2), expand=False))
    return Group(*parts, *([Padding(table, (0, 0, 0, 2), expand=False)] if flip.choices else []), *said)


def mark(score: float, chosen: bool) -> str:
    """Return −3.21 ◀ for a chosen answer."""
    return f"{score:.3f} {'◀' if chosen else ' '}".replace("-", "−")


def markdown_report(report: Report, *, examples: int) -> str:
    """Return the same for a pull request."""
    parts: list[str] = []
    for comparison in report.comparisons:
        head = ["task", *(head.title for head in heads(report, comparison))]
        rows = [[row.name, *(f"{cell.text} {cell.detail}" for cell in row.cells)] for row in lines(comparison)]
        parts.append(f"**{escaped(title(report, comparison))}**")
        parts.append(pipes(head, rows, text=(0, 1)))
        parts.append("\n".join(f"- {escaped(told)}." for told in sentences(report, comparison)))
        for flip in flips(comparison, examples):
            said = [escaped(f"{side} said: {shortened(response)}") for side, response in _responses(flip, comparison)]
            parts.append(
                "\n\n".join([f"**{escaped(heading(flip, comparison))}**", escaped(shortened(flip.question)), *said])
            )
            if flip.choices:
                choices = [
                    ["✓" if choice.right else "", shortened(choice.text), *map(mark, choice.scores, choice.chosen)]
                    for choice in flip.choices
                ]
                parts.append(pipes(["", flip.measure, comparison.reference, comparison.variant], choices, text=(0, 1)))
    parts.append("\n".join(f"- {escaped(note)}" for note in notes(report)))
    return "\n\n".join(parts) + "\n"


def _responses(flip: Flip, comparison: Comparison) -> Iterator[tuple[str, str]]:
    """Yield who generated what, where text was generated."""
    for side, response in zip((comparison.reference, comparison.variant), flip.responses, strict=True):
        if response:
            yield side, response
