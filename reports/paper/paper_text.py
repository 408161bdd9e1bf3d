"""A paper's table for a terminal, for Markdown, for LaTeX and for a program."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict

from harness.evaluation.distributions import LEVEL
from harness.papers import AVERAGE
from reports import formats
from reports.paper.table import Distance, Line, Measure, Order, PaperTable
from reports.plain import plain

PAIR = " / "


def heads(table: PaperTable) -> list[str]:
    """Return the columns: the averages and the perplexities, published and here.

    Each with its distance to dense.
    """
    names = ["recipe"]
    for measure in measures(table):
        unit = "Δ dense" if measure == "average" else "× dense"
        names += [f"{measure}, published", unit, "here", f"{unit} [95 %]"]
    return names


def measures(table: PaperTable) -> list[Measure]:
    """Return what the published table has of average and perplexity."""
    measured = {measure for line in table.lines for measure in line.published_distance}
    every: tuple[Measure, ...] = ("average", "perplexity")
    return [measure for measure in every if measure in measured]


def rows(table: PaperTable) -> list[list[str]]:
    """Return a row a line; what was not published or not measured is a dash."""
    loss = next((task for task, metric in table.metrics.items() if metric.kind == "perplexity"), "")
    lines = []
    for line in table.lines:
        cells = [line.recipe]
        for measure in measures(table):
            key = AVERAGE if measure == "average" else loss
            for scores, distances in (
                (line.published, line.published_distance),
                (line.measured, line.measured_distance),
            ):
                cells += [_score(scores.get(key), measure), _distance(distances.get(measure), measure)]
        lines.append(cells)
    return lines


def _score(value: float | None, measure: Measure) -> str:
    """Return a percentage to one decimal, or a perplexity to about three digits."""
    if value is None:
        return formats.MISSING
    return f"{value:.2f}" if measure == "perplexity" and value < 20 else f"{value:,.1f}"


def _distance(distance: Distance | None, measure: Measure) -> str:
    if distance is None:
        return formats.MISSING
    texts = [
        _signed(end) if measure == "average" else f"{end:.2f}"
        for end in (distance.value, distance.low, distance.high)
        if end is not None
    ]
    text = texts[0] if measure == "average" else f"×{texts[0]}"
    return f"{text} [{', '.join(texts[1:])}]" if texts[1:] else text


def _signed(points: float) -> str:
    return formats.points(points / 100)


def task_heads(table: PaperTable) -> list[str]:
    return ["published / here", *(f"{task} {metric}" for task, metric in _tasks(table).items())]


def _tasks(table: PaperTable) -> dict[str, str]:
    return {task: metric.key for task, metric in table.metrics.items() if metric.kind == "share"}


def task_rows(table: PaperTable) -> list[list[str]]:
    """Return published / here of every task."""
    return [[line.recipe, *(_cell(line, task) for task in _tasks(table))] for line in table.lines]


def _cell(line: Line, task: str) -> str:
    return PAIR.join(_score(number.get(task), "average") for number in (line.published, line.measured))


def notes(table: PaperTable, model: str) -> list[str]:
    """Return what was not measured, whose order agrees, and what the numbers may not be taken for."""
    told = [f"{line.recipe}: not measured: {line.reason}" for line in table.lines if line.reason]
    for order in table.orders:
        told += _order(order)
    told.append(
        f"published: {table.paper.model}, {table.paper.source}; here: {model}. Of another model numbers cannot be equal: "
        "compare distances to dense and the order of rows."
    )
    return told


def _order(order: Order) -> list[str]:
    pairs = len(order.agreeing) + len(order.differing)
    if pairs * 2 ** (1 - order.clusters) >= 1 - LEVEL:  # a sign-flip test's smallest p, by Holm
        few = f"{order.clusters} items can be sure of none of so many pairs: raise limit="
        return [f"order by {order.measure}: {len(order.agreeing)} of {pairs} pairs of pruned rows as published; {few}"]
    told = [
        f"order by {order.measure}: {len(order.agreeing)} of {pairs} pairs of pruned rows as published, {len(order.sure)} of "
        f"them significantly (paired tests, Holm over {pairs}); {len(order.opposed)} significantly reversed"
    ]
    return told + [
        f"significantly reversed by {order.measure}: {worse} before {better}" for better, worse in order.opposed
    ]


def latex(table: PaperTable, model: str) -> str:
    """Return a booktabs table of the averages and perplexities, and the notes as comments."""
    head, body = heads(table), rows(table)
    lines = [f"% {_one_line(note)}" for note in notes(table, model)]
    lines += [rf"\begin{{tabular}}{{l{'r' * (len(head) - 1)}}}", r"\toprule", _cells(head), r"\midrule"]
    lines += [*map(_cells, body), r"\bottomrule", r"\end{tabular}"]
    return "\n".join(lines) + "\n"


def _cells(cells: Sequence[str]) -> str:
    return " & ".join(map(_tex, cells)) + r" \\"


TEX = str.maketrans(
    {letter: f"\\{letter}" for letter in "&%_#${}"}
    | {
        "\\": r"\textbackslash{}",
        "^": r"\textasciicircum{}",
        "~": r"\textasciitilde{}",
        "<": "$<$",
        ">": "$>$",
        '"': "''",
    }
    | {"×": r"$\times$", "−": "$-$", "Δ": r"$\Delta$", "–": "--"}
)


def _tex(text: str) -> str:
    """Return the text as one line that TeX prints as it stands.

    Letter by letter, so that nothing is replaced twice.
    """
    return _one_line(text).translate(TEX)


def _one_line(text: str) -> str:
    return " ".join(text.split())


def json_text(table: PaperTable, model: str) -> str:
    """Return everything, unrounded."""
    metrics = {task: metric.key for task, metric in table.metrics.items()}
    content = asdict(table) | {
        "metrics": metrics,
        "paper": table.paper.model_dump(),
        "measured_model": model,
        "notes": notes(table, model),
    }
    return json.dumps(plain(content), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
