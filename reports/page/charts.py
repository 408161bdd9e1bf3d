"""The page's plotly figures as plain dictionaries.

`var(--ink)` and the like become the page's colours in page.js.
"""

from collections.abc import Sequence
from html import escape

from harness.quantities import Quantity
from reports.drawing import Figure, base_layout
from reports.palette import colours, method, methods, square
from reports.run.columns import COST, Column, filled, summary_columns, task_columns
from reports.run.points import AVERAGE, Point, points, reference, staircase
from reports.variants import Facts, Row, dense_row, name


def pareto(rows: Sequence[Row], facts: Facts, axis: Quantity) -> Figure:
    """Average against one axis: a trace a method, then the front; hollow points are no savings."""
    marks, hue = points(rows, axis), colours(rows)
    shown = [p.row for p in marks]
    traces = [front_line(marks, axis)] if any(point.on_front for point in marks) else []
    for family in methods(shown):
        traces.append(family_trace(family, [p for p in marks if method(p.row) == family], hue[family], rows, facts))
    layout = base_layout(axis.axis_title, AVERAGE.axis)
    dense = reference(rows, axis)
    if dense:
        far = int(axis.better == "higher")  # the end of the line that dense itself is not at
        layout["shapes"] = [
            guide({"xref": "paper", "x0": 0, "x1": 1, "y0": dense.y, "y1": dense.y}),
            guide({"yref": "paper", "y0": 0, "y1": 1, "x0": dense.x, "x1": dense.x}),
        ]
        layout["annotations"] = [
            {"xref": "paper", "x": far, "y": dense.y, "text": "dense", "showarrow": False, "yanchor": "bottom"}
            | {"xanchor": "right" if far else "left", "font": {"size": 11, "color": "var(--quiet)"}}
        ]
    if not marks:
        layout["annotations"] = [
            {"xref": "paper", "yref": "paper", "x": 0.5, "y": 0.5, "showarrow": False}
            | {"text": "no variant has both numbers", "font": {"color": "var(--quiet)"}}
        ]
    return {"data": traces, "layout": layout}


def front_line(marks: Sequence[Point], axis: Quantity) -> Figure:
    """The staircase through the front: the best average still reachable at x."""
    x, y = staircase(marks)
    shape = "vh" if axis.better == "higher" else "hv"
    line = {"shape": shape, "color": "var(--ink)", "width": 1.5}
    return {"type": "scatter", "mode": "lines", "x": x, "y": y, "name": "Pareto front", "line": line} | {
        "hoverinfo": "skip"
    }


def family_trace(family: str, marks: Sequence[Point], colour: str, rows: Sequence[Row], facts: Facts) -> Figure:
    """One method's points with error bars and the numbers a hover shows."""
    symbols = [("square" if square(p.row) else "circle") + ("-open" if p.hollow else "") for p in marks]
    dense = dense_row(rows)
    rings = [p.row is dense for p in marks]
    return {
        "type": "scatter",
        "mode": "markers",
        "name": escape(family, quote=False),
        "x": [p.x for p in marks],
        "y": [p.y for p in marks],
        "error_x": bars([p.x_error for p in marks], colour),
        "error_y": bars([p.y_error for p in marks], colour),
        "marker": {
            "symbol": symbols,
            "color": colour,
            "opacity": 1,
            "size": [13 if ring else 10 for ring in rings],
            "line": {"color": ["var(--ink)" if ring else colour for ring in rings], "width": 1.5},
        },
        "text": [hover(p, rows, facts) for p in marks],
        "hovertemplate": "%{text}<extra></extra>",
    }


def bars(lengths: Sequence[tuple[float, float]], colour: str) -> Figure:
    """Asymmetric error bars; invisible where every length is zero."""
    return {
        "type": "data",
        "symmetric": False,
        "arrayminus": [low for low, _ in lengths],
        "array": [high for _, high in lengths],
        "visible": any(low or high for low, high in lengths),
        "color": colour + "88",
        "thickness": 1,
        "width": 0,
    }


def hover(point: Point, rows: Sequence[Row], facts: Facts) -> str:
    """Every number of a variant, one a line, escaped for plotly's small HTML."""
    row, dense = point.row, dense_row(rows)
    columns: list[Column] = [*summary_columns([row]), *filled(task_columns(facts), [row]), *filled(COST, [row])]
    lines = [f"<b>{escape(name(row), quote=False)}</b>"]
    flags = [("on this chart's front", point.on_front), ("simulated", bool(point.row.get("simulated")))]
    flags.append(("emulated", bool(point.row.get("emulated"))))
    flags.append(("timed on a busy machine", bool(row.get("contended"))))
    if any(shown for _, shown in flags):
        lines.append("<i>" + ", ".join(words for words, shown in flags if shown) + "</i>")
    for column in columns:
        value = f"{column.text(row, dense)} {column.detail(row, dense)}".strip()
        lines.append(escape(f"{column.header}: {value} {column.unit.replace('of dense', '')}".strip(), quote=False))
    return "<br>".join(lines)


def guide(ends: Figure) -> Figure:
    """A dotted reference line under the points."""
    return {"type": "line", "layer": "below", "line": {"dash": "dot", "width": 1, "color": "var(--quiet)"}} | ends
