"""The page's part about searches.

A table of strategies and the figures, once a group of comparable searches.
"""

from collections.abc import Sequence
from html import escape
from typing import NamedTuple

from reports.drawing import Figure, frame, head
from reports.estimates import Estimate
from reports.formats import MISSING
from reports.search import figures as search_charts
from reports.search import survivor_charts
from reports.search.agreement import distinct
from reports.search.searches import Search, comparable
from reports.search.summary import Problem, problem
from reports.search.survivors import Tastes, tastes
from reports.variants import Facts, one_line

ABOUT = (
    "Searches are compared only where super-network, items, space, objective, cost and reference point are the same. "
    "Hypervolume is the area between front and reference point, in units of objective × share of dense; only candidates "
    "scored on the whole search set count. Intervals are 95 %: over search seeds Student's t (of Fisher's z for τ); with one "
    "seed, over candidates (Fieller for τ, Bonett and Wright for ρ, Welch for the gap). None allows for the choice of "
    "items, which all candidates share. Within sizes: rank correlation of what a quadratic in size leaves. Overfit gap: "
    "held-out minus search loss, on the front minus off it; above zero, the front was partly luck. Best quarter: by what "
    "a quadratic in size leaves of the loss."
)


def figures(searches: Sequence[Search]) -> dict[str, tuple[str, Figure]]:
    """Caption and figure of everything drawable, by name; `search-0-…` belongs to the first group."""
    drawn: dict[str, tuple[str, Figure]] = {}
    for index, group in enumerate(comparable(searches)):
        stated, likes = problem(group), tastes(distinct(group), group[0]["objective"])
        options = {
            "candidates": ("Candidates and front", search_charts.candidates(group)),
            "hypervolume": ("Hypervolume by evaluations", search_charts.hypervolumes(group)),
            "predicted": (f"Predicted and measured{_taus(stated)}", search_charts.predictions(group)),
            "accuracy": (f"Objective and accuracy{_proxy(stated)}", search_charts.accuracies(group)),
            "splits": (f"Seen and held out{_gaps(stated)}", search_charts.splits(group)),
            "survivors": ("What the best quarter for its size keeps", survivor_charts.survivors(group)),
            "tasks": (_likes(likes), survivor_charts.tasks(likes) if likes else None),
        }
        drawn |= {f"search-{index}-{name}": (words, it) for name, (words, it) in options.items() if it}
    return drawn


def content(facts: Facts, drawn: dict[str, tuple[str, Figure]]) -> str:
    """The tables and the places of the figures; empty where nothing was searched."""
    parts = []
    for index, group in enumerate(comparable(facts.get("searches") or [])):
        stated = problem(group)
        places = "".join(
            f'<figure class="card"><figcaption>{caption(words)}</figcaption>'
            f'<div class="chart" data-figure="{name}"></div></figure>'
            for name, (words, _) in drawn.items()
            if name.startswith(f"search-{index}-")
        )
        parts.append(f'<h3>{escape(stated.title)}</h3>{table(stated)}<div class="charts">{places}</div>')
    about = f'<details class="note"><summary>How to read these numbers</summary><p>{escape(ABOUT)}</p></details>'
    return f"{about}{''.join(parts)}" if parts else ""


def caption(words: str) -> str:
    """What stands before the colon, and smaller the numbers after it."""
    title, _, numbers = words.partition(": ")
    return escape(title) + (f" <small>{escape(numbers)}</small>" if numbers else "")


class Column(NamedTuple):
    """A title, what stands small below it, which end is best, a value a line, and decimals."""

    title: str
    small: str
    best: str
    values: list[Estimate | None]
    places: int


def table(problem: Problem) -> str:
    """A line a strategy; columns that none has a number for are left out."""
    lines = problem.lines
    reach = f"to reach {problem.level:.3f} ↓" if problem.level is not None else ""
    every = (
        Column("evaluations", "spent", "low", [Estimate(line.evaluations, 1) for line in lines], 0),
        Column("hypervolume", "↑", "high", [line.hypervolume for line in lines], 3),
        Column("evaluations", reach, "low", [line.reached if problem.compared else None for line in lines], 0),
        Column("predictor τ", "↑", "high", [line.tau for line in lines], 2),
        Column("τ within sizes", "↑", "high", [line.tau_within for line in lines], 2),
        Column("overfit gap", "↓", "low", [line.overfit for line in lines], 2),
    )
    columns = [column for column in every if any(column.values)]
    heads = [head("strategy", "", "text"), *(head(column.title, column.small, column.best) for column in columns)]
    rows = []
    for index, line in enumerate(lines):
        name = escape(one_line(line.strategy) + (f" × {line.seeds} seeds" if line.seeds > 1 else ""))
        cells = "".join(cell(column.values[index], column.places) for column in columns)
        rows.append(f'<tr><th scope="row" data-value="{name}"><span>{name}</span></th>{cells}</tr>')
    return frame("".join(heads), "".join(rows), "search")


def cell(value: Estimate | None, places: int) -> str:
    """A number with its interval; the unrounded number is what sorting compares."""
    if value is None:
        return f"<td>{MISSING}</td>"
    number, _, bounds = value.text(places).partition(" ")
    return f'<td data-value="{value.value!r}">{number}' + (f"<small>{bounds}</small></td>" if bounds else "</td>")


def _taus(problem: Problem) -> str:
    lines = [line for line in problem.lines if line.tau]
    if len(lines) != 1 or not lines[0].tau:
        return ""
    within = f", {lines[0].tau_within.value:.2f} within sizes" if lines[0].tau_within else ""
    return f": Kendall’s τ {lines[0].tau.value:.2f}{within}".replace("-", "−")


def _proxy(problem: Problem) -> str:
    if not problem.proxy:
        return ""
    parts = [f"Spearman’s ρ {problem.proxy.objective.overall.text()}"]
    if problem.proxy.objective.within:
        parts.append(f"within sizes {problem.proxy.objective.within.text()}")
    if problem.proxy.size:
        parts.append(f"size alone {problem.proxy.size.text()}")
    return f": {', '.join(parts)}, {problem.proxy.objective.overall.n} networks"


def _gaps(problem: Problem) -> str:
    lines = [line.overfit for line in problem.lines if line.overfit]
    return f": overfit gap {lines[0].text()}" if len(lines) == 1 else ""


def _likes(tastes: Tastes | None) -> str:
    if not tastes:
        return ""
    return (
        f"What the best quarter for each task keeps: tasks differ by ±{100 * tastes.spread():.1f} points, "
        f"standard error ±{100 * tastes.error:.1f} ({tastes.chosen} networks each)"
    )
