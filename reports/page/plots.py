"""The two Pareto panels as image files: average against size, and average against decode throughput."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from harness.quantities import Quantity
from reports.page.labels import place
from reports.palette import colours, method, methods, square
from reports.run.notes import headline
from reports.run.points import AVERAGE, SIZE, Point, decode_axis, points, reference, staircase
from reports.variants import Facts, Row, quantized

STYLE: dict[Any, Any] = {
    "text.parse_math": False,  # names that others wrote are no formulas
    "svg.hashsalt": "llm-compression-harness",
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#888888",
    "axes.grid": True,
    "grid.color": "#e6e6e6",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
}
LABEL_SIZE = 6.5


def save(rows: Sequence[Row], facts: Facts, folder: Path) -> list[Path]:
    """Writes pareto.png and pareto.svg, the same bytes for the same rows, and returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / "pareto.png", folder / "pareto.svg"]
    with matplotlib.rc_context(STYLE):
        figure = draw(rows, facts)
        figure.savefig(paths[0], dpi=150)
        figure.savefig(paths[1], metadata={"Date": None})
    return paths


def draw(rows: Sequence[Row], facts: Facts) -> Figure:
    """The figure, not attached to any window."""
    figure = Figure(figsize=(12, 5.6), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, 2, sharey=True)
    for axes, axis in zip(panels, (SIZE, decode_axis(rows)), strict=True):
        panel(axes, rows, axis)
    panels[0].set_ylabel(AVERAGE.axis)
    figure.suptitle(headline(facts), fontsize=10)
    handles = legend(rows)
    figure.legend(
        handles=handles,
        loc="outside lower center",
        ncols=min(11, len(handles)),
        frameon=False,
        fontsize=8,
        columnspacing=1.4,
    )
    figure.draw_without_rendering()  # settles the layout the labels are placed in
    for axes, axis in zip(panels, (SIZE, decode_axis(rows)), strict=True):
        annotate(axes, points(rows, axis), colours(rows))
    return figure


def panel(axes: Axes, rows: Sequence[Row], axis: Quantity) -> None:
    """Points, error bars, front and dense reference lines of one x axis."""
    marks, hue, dense = points(rows, axis), colours(rows), reference(rows, axis)
    axes.set_xlabel(axis.axis_title)
    axes.margins(0.08)
    if not marks:
        axes.text(0.5, 0.5, "no variant has both numbers", ha="center", transform=axes.transAxes, color="#888888")
    if dense:
        axes.axhline(dense.y, color="#999999", linestyle=":", linewidth=1, zorder=1)
        axes.axvline(dense.x, color="#999999", linestyle=":", linewidth=1, zorder=1)
    steps = "steps-pre" if axis.better == "higher" else "steps-post"  # the best average still reachable at x
    axes.plot(*staircase(marks), drawstyle=steps, color="#333333", linewidth=1.2, zorder=2)
    for point in marks:
        colour = hue[method(point.row)]
        x_error, y_error = np.reshape(point.x_error, (2, 1)), np.reshape(point.y_error, (2, 1))
        axes.errorbar(point.x, point.y, y_error, x_error, fmt="none", ecolor=colour, elinewidth=0.7, alpha=0.45)
        axes.plot(point.x, point.y, zorder=4, **marker(colour, square(point.row), point.hollow))
    if dense:
        axes.plot(dense.x, dense.y, "o", markersize=12, fillstyle="none", color="#333333", zorder=5)


def marker(colour: str, is_square: bool, hollow: bool) -> dict[str, Any]:
    """Plot arguments of one point."""
    return {
        "marker": "s" if is_square else "o",
        "markersize": 6,
        "color": colour,
        "markerfacecolor": "none" if hollow else colour,
        "linestyle": "none",
    }


def annotate(axes: Axes, marks: Sequence[Point], hue: dict[str, str]) -> None:
    """A small label with the budget beside each point."""
    if not marks:
        return
    scale = axes.figure.dpi / 72  # dots per typographic point
    anchors = axes.transData.transform([(point.x, point.y) for point in marks])  # (n, 2) dots
    sizes = [(0.62 * LABEL_SIZE * len(point.label) * scale, 1.1 * LABEL_SIZE * scale) for point in marks]
    offsets = (place(anchors, sizes, radius=4 * scale) - anchors) / scale
    for point, offset in zip(marks, offsets, strict=True):
        axes.annotate(
            point.label,
            (point.x, point.y),
            offset,
            textcoords="offset points",
            ha="center",
            va="center",
            fontsize=LABEL_SIZE,
            color=darker(hue[method(point.row)]),
            zorder=6,
        )


def darker(colour: str) -> str:
    """The colour mixed with black until small text of it is readable on white."""
    red, green, blue = to_rgb(colour)
    return to_hex((0.65 * red, 0.65 * green, 0.65 * blue))


def legend(rows: Sequence[Row]) -> list[Line2D]:
    """A key for each method, each marker, the front and the dense reference."""
    hue = colours(rows)
    drawn = methods([point.row for axis in (SIZE, decode_axis(rows)) for point in points(rows, axis)])
    keys = [Line2D([], [], marker="o", linestyle="none", color=hue[name], label=legible(name)) for name in drawn]
    shapes = ((False, False, "not quantized"), (True, False, quantized(rows)), (False, True, "simulated or emulated"))
    for is_square, hollow, label in shapes:
        keys.append(Line2D([], [], **marker("#555555", is_square, hollow), label=label))
    keys.append(Line2D([], [], color="#333333", linewidth=1.2, label="Pareto front"))
    keys.append(Line2D([], [], color="#999999", linestyle=":", label="dense"))
    return keys


def legible(label: str) -> str:
    """The label of a legend; matplotlib leaves out those that begin with an underscore."""
    return f" {label}" if label.startswith("_") else label
