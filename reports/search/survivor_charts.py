"""The page's architecture histograms.

What the best candidates keep of each layer, and what those of each task keep.
"""

from collections.abc import Sequence
from html import escape

from reports.drawing import Figure, base_layout
from reports.palette import COLOURS
from reports.search.agreement import distinct
from reports.search.searches import Search
from reports.search.survivors import CLASSES, FEWEST, Tastes, layers, near_front
from reports.variants import one_line

SHADES = [[0, "var(--card)"], [1, "var(--accent)"]]
TICKS = 5  # layers
DASHES = ("solid", "dash", "dot", "dashdot")  # beyond the colours


def survivors(group: Sequence[Search]) -> Figure | None:
    """Attention kept by layer above, MLP widths by layer below, of the best networks.

    They are the quarter of networks that are best for their size.
    """
    records = distinct(group)
    if len(records) < FEWEST:
        return None
    every = layers(records)
    best = every.chosen(near_front(records))
    numbers = list(range(every.width.shape[1]))
    frequency = (100 * best.histogram()).tolist()
    bars = {
        "type": "bar",
        "name": "best quarter",
        "x": numbers,
        "y": (100 * best.attention.mean(axis=0)).tolist(),
        "yaxis": "y2",
        "marker": {"color": COLOURS[2]},
        "hovertemplate": "layer %{x}: attention stays in %{y:.0f} %<extra></extra>",
    }
    others = {
        "type": "scatter",
        "mode": "lines",
        "name": "all candidates",
        "x": numbers,
        "y": (100 * every.attention.mean(axis=0)).tolist(),
        "yaxis": "y2",
        "line": {"color": "var(--ink)", "width": 1.5, "dash": "dot", "shape": "hvh"},
        "hoverinfo": "skip",
    }
    heat = {
        "type": "heatmap",
        "x": numbers,
        "y": list(CLASSES),
        "z": frequency,
        "zmin": 0,
        "zmax": 100,
        "colorscale": SHADES,
        "xgap": 1,
        "ygap": 1,
        "colorbar": {"title": {"text": "% of them", "side": "right"}, "thickness": 10, "len": 0.66, "y": 0.32},
        "hovertemplate": "layer %{x}, MLP width %{y}: %{z:.0f} %<extra></extra>",
    }
    layout = base_layout("layer", "MLP width")
    layout["yaxis"] |= {"domain": [0, 0.64], "type": "category", "showgrid": False}
    layout["yaxis2"] = layout["yaxis"] | {"domain": [0.72, 1], "type": "linear", "range": [0, 105], "showgrid": True}
    layout["yaxis2"] |= {"title": {"text": "attention, %", "standoff": 8}, "tickvals": [0, 50, 100]}
    layout["xaxis"] |= {"showgrid": False, "anchor": "y", "range": [-0.5, len(numbers) - 0.5], "tick0": 0}
    layout["xaxis"]["dtick"] = TICKS if len(numbers) > TICKS else 1
    layout["bargap"] = 0.15
    return {"data": [bars, others, heat], "layout": layout}


def tasks(tastes: Tastes) -> Figure:
    """The mean MLP width share by layer of the best quarter for each task, and of all candidates."""
    numbers = list(range(len(tastes.everyone)))
    grey = {"color": "var(--ink)", "width": 1.5, "dash": "dot"}
    traces = [
        {"type": "scatter", "mode": "lines", "name": "all candidates", "x": numbers}
        | {"y": (100 * tastes.everyone).tolist(), "line": grey, "hoverinfo": "skip"}
    ]
    for index, (name, widths) in enumerate(tastes.tasks.items()):
        round_, place = divmod(index, len(COLOURS))
        traces.append(
            {"type": "scatter", "mode": "lines", "name": escape(one_line(name), quote=False), "x": numbers}
            | {"y": (100 * widths).tolist()}
            | {"line": {"color": COLOURS[place], "width": 1.8, "dash": DASHES[round_ % len(DASHES)]}}
            | {"hovertemplate": "layer %{x}: %{y:.0f} %<extra>%{fullData.name}</extra>"}
        )
    layout = base_layout("layer", "mean MLP width, % of the widest")
    return {"data": traces, "layout": layout}
