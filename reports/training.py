"""Plotly figures of how variants came to be: loss curves and the candidates of a search."""

from collections.abc import Sequence
from html import escape
from typing import Any

from reports.charts import Figure, base_layout
from reports.palette import COLOURS
from reports.variants import number, one_line


def losses(curves: dict[str, Sequence[tuple[float, float]]]) -> Figure:
    """Training loss by step, a line a variant."""
    traces = []
    for i, (variant, curve) in enumerate(curves.items()):
        kept = [(step, loss) for step, loss in curve if number({"loss": loss}, "loss") is not None]
        traces.append(
            {
                "type": "scatter",
                "mode": "lines",
                "name": escape(one_line(variant), quote=False),
                "x": [step for step, _ in kept],
                "y": [loss for _, loss in kept],
                "line": {"color": COLOURS[i % len(COLOURS)], "width": 1.8},
            }
        )
    return {"data": traces, "layout": base_layout("step", "training loss ↓")}


def search(records: Sequence[dict[str, Any]]) -> list[Figure]:
    """Candidates by parameters against fitness and, where any was scored, against accuracy; seeds are diamonds."""
    figures = []
    for key, label, scale in (("fitness", "fitness", 1.0), ("accuracy", "accuracy, % ↑", 100.0)):
        scored = [r for r in records if number(r, key) is not None and number(r, "parameters") is not None]
        if scored:
            figures.append(candidates(scored, key, label, scale))
    return figures


def candidates(records: Sequence[dict[str, Any]], key: str, label: str, scale: float) -> Figure:
    """One scatter of the search."""
    traces = []
    for words, is_seed, symbol, colour in (
        ("found by the search", False, "circle", COLOURS[0]),
        ("seed", True, "diamond", COLOURS[1]),
    ):
        some = [record for record in records if bool(record.get("seed")) == is_seed]
        if some:
            traces.append(
                {
                    "type": "scatter",
                    "mode": "markers",
                    "name": words,
                    "x": [float(record["parameters"]) * 1e-6 for record in some],
                    "y": [float(record[key]) * scale for record in some],
                    "text": [escape(one_line(record.get("label") or ""), quote=False) for record in some],
                    "marker": {"symbol": symbol, "color": colour, "size": 8},
                    "hovertemplate": "<b>%{text}</b><br>%{x:.1f} M parameters<br>%{y:.4g}<extra></extra>",
                }
            )
    return {"data": traces, "layout": base_layout("← parameters, millions", label)}
