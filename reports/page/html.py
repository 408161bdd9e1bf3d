"""The report as one HTML file that needs no network: styles, scripts, plotly and data are inside it."""

import json
from collections.abc import Sequence
from html import escape
from importlib.resources import files
from string import Template

from plotly.offline import get_plotlyjs

from harness.measures.speed import OF_TORCH
from reports.page import charts, front_section, losses, sections
from reports.page.template import PAGE
from reports.plain import plain
from reports.run import method_fronts
from reports.run.cautions import cautions
from reports.run.notes import EMULATED, SIMULATED, TASK_NOTE, headline, notes
from reports.run.points import AXES, SIZE, points
from reports.search import section as search_section
from reports.variants import Facts, Row, quantized, quantizers


def page(rows: Sequence[Row], facts: Facts) -> str:
    """The whole document; the same rows and facts give the same text."""
    content = files("reports.page")
    searched = search_section.figures(facts.get("searches") or [])
    drawn = figures(rows, facts) | {key: figure for key, (_, figure) in searched.items()}
    return Template(PAGE).substitute(
        squares=escape(quantized(rows)),
        quantized="".join(f", and <em>+{escape(name)}</em> means quantized on top" for name in quantizers(rows)[:1]),
        model=escape(str(facts.get("model") or "compression report")),
        headline="<br>".join(escape(words) for words in (headline(facts | {"model": None}), *cautions(rows))),
        css=content.joinpath("page.css").read_text(encoding="utf-8"),
        summary=sections.summary(rows),
        notes="".join(
            f"<li>{escape(note.removeprefix(SIMULATED + ': ').removeprefix(EMULATED + ': '))}</li>"
            for note in notes(rows, facts)
        ),
        choices=choices(rows),
        chosen=chosen(rows),
        tasks=section("Scores by task", sections.tasks(rows, facts), TASK_NOTE),
        fronts=section("Hypervolume by method", front_section.content(facts), method_fronts.NOTE),
        cost=section("Cost of compression", sections.cost(rows), "What making each variant took, once."),
        training=chart_section("Loss while training", [key for key in drawn if key.startswith("loss")], losses.NOTE),
        search=section("Architecture search", search_section.content(facts, searched), ""),
        environment=sections.environment(facts),
        command=escape(str(facts.get("command") or "not recorded")),
        figures=json.dumps(plain(drawn), ensure_ascii=False, allow_nan=False).replace("<", "\\u003c"),
        plotly=get_plotlyjs(),
        js=content.joinpath("page.js").read_text(encoding="utf-8"),
    )


def figures(rows: Sequence[Row], facts: Facts) -> dict[str, charts.Figure]:
    """The figures of results and trainings by name."""
    drawn = {axis.key: charts.pareto(rows, facts, axis) for axis in AXES}
    if facts.get("loss_curves"):
        drawn["loss"] = losses.losses(facts["loss_curves"])
    return drawn


def choices(rows: Sequence[Row]) -> str:
    """Radio buttons for the x axis of the second chart; axes nobody measured cannot be chosen."""
    parts = []
    for axis in (axis for axis in AXES if not OF_TORCH.fullmatch(axis.key) or points(rows, axis)):
        state = (" checked" if axis.key == chosen(rows) else "") + ("" if points(rows, axis) else " disabled")
        label = (axis.button and axis.button.name) or axis.label
        parts.append(f'<label><input type="radio" name="x" value="{axis.key}"{state}><span>{label}</span></label>')
    return "".join(parts)


def chosen(rows: Sequence[Row]) -> str:
    """The x axis that the second chart begins with.

    The first that somebody measured and the first chart does not show.
    """
    return next((axis.key for axis in AXES if axis is not SIZE and points(rows, axis)), AXES[0].key)


def section(title: str, content: str, note: str) -> str:
    """A titled part of the page, or nothing where there is no content."""
    below = f'<p class="note">{escape(note)}</p>' if note else ""
    return f"<section><h2>{title}</h2>{content}{below}</section>" if content else ""


def chart_section(title: str, names: Sequence[str], note: str) -> str:
    """A titled part of the page with one empty place a chart, which page.js fills."""
    places = "".join(f'<div class="card"><div class="chart" data-figure="{name}"></div></div>' for name in names)
    return section(title, f'<div class="charts">{places}</div>' if names else "", note)
