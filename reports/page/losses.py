"""Plotly figure of trainings: loss by tokens, a line for each kind of network that was trained."""

from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np

from reports.drawing import Figure, base_layout
from reports.palette import COLOURS
from reports.variants import number, one_line

WINDOW = 20  # a line is an average over about this part of its steps
NOTE = "Points are steps, lines their running mean over a twentieth of the steps; tokens count every backward pass."
WORDS = {"full": "whole network", "sub": "sub-networks"}


def losses(curves: dict[str, Sequence[tuple[int, int, float, str]]]) -> Figure:
    """Training loss by tokens: faint points are steps, lines their running mean.

    Each training and kind has a colour.
    """
    traces: list[Figure] = []
    for training, curve in curves.items():
        rows = [row for row in curve if number({"loss": row[2]}, "loss") is not None]
        kinds = list(dict.fromkeys(kind for _, _, _, kind in rows))
        for kind in kinds:
            some = [(tokens, loss) for _, tokens, loss, each in rows if each == kind]
            name = f"{training}, {WORDS.get(kind, kind)}" if len(kinds) > 1 else training
            traces += pair(name, some, COLOURS[len(traces) // 2 % len(COLOURS)])
    layout = base_layout("training tokens", "training loss ↓, smoothed")
    shown = [value for trace in traces for value in trace["y"]]
    if shown:
        layout["yaxis"]["rangemode"] = "tozero" if min(shown) < 0.3 * max(shown) else "normal"
    return {"data": traces, "layout": layout}


def pair(name: str, rows: Sequence[tuple[int, float]], colour: str) -> list[Figure]:
    """Steps as faint points, then their running mean as a line that carries the name."""
    tokens = [each for each, _ in rows]
    values = np.array([loss for _, loss in rows])
    common: dict[str, Any] = {"type": "scatter", "x": tokens, "legendgroup": name}
    points = {"mode": "markers", "y": values.tolist(), "showlegend": False, "hoverinfo": "skip"}
    line = {"mode": "lines", "y": smoothed(values).tolist(), "name": escape(one_line(name), quote=False)}
    return [
        common | points | {"marker": {"color": colour, "size": 4, "opacity": 0.25}},
        common
        | line
        | {"line": {"color": colour, "width": 2}, "hovertemplate": "%{x} tokens: %{y:.3f}<extra></extra>"},
    ]


def smoothed(values: np.ndarray) -> np.ndarray:
    """The centred running mean over about a WINDOW-th of the values (n,).

    At both ends it is taken over the values that there are.
    """
    reach = len(values) // (2 * WINDOW)
    total = np.concatenate(([0.0], np.cumsum(values)))
    places = np.arange(len(values))
    first, last = np.maximum(0, places - reach), np.minimum(len(values), places + reach + 1)
    return np.asarray((total[last] - total[first]) / (last - first))
