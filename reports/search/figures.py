"""The page's figures of comparable searches.

Candidates, hypervolume, and how far to believe predictor and objective.
"""

from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np

from reports.drawing import Figure, base_layout
from reports.palette import COLOURS
from reports.search.agreement import checked, distinct, held_out, losses, predicted
from reports.search.searches import Record, Search, band, on_front, strategies, whole
from reports.search.summary import WORDS
from reports.variants import one_line

SHOWN_BANDS = 3  # seeds from which an interval is drawn: of two, t makes it nine deviations wide
LABELS = {"parameters": "parameters, millions", "bytes": "bytes", "flops": "FLOPs per token", "latency": "latency"}
FRONT = {"color": "var(--ink)", "width": 1.5}


def colour(index: int) -> str:
    """The colour of a group's strategies in their order."""
    return COLOURS[index % len(COLOURS)]


def label(record: Record) -> str:
    """What a hover says of a candidate."""
    blocks = record["architecture"][1]
    depth = sum(bool(block[0] or block[1]) for block in blocks)
    return f"{depth} of {len(blocks)} layers, {record['parameters'] / 1e6:.1f} M parameters"


def dots(name: str, x: Any, y: Any, tone: str, texts: Sequence[str], **marker: Any) -> Figure:
    """A scatter trace whose points say what they are."""
    return {
        "type": "scatter",
        "mode": "markers",
        "name": escape(one_line(name), quote=False),
        "x": np.asarray(x).tolist(),
        "y": np.asarray(y).tolist(),
        "text": list(texts),
        "marker": {"color": tone, "size": 7, "opacity": 0.8} | marker,
        "hovertemplate": "<b>%{text}</b><br>%{x:.4g}, %{y:.4g}<extra></extra>",
    }


def costs(records: Sequence[Record], kind: str) -> list[float]:
    """The x coordinate: millions of parameters, or the cost as a share of the dense model's."""
    return [record["parameters"] / 1e6 if kind == "parameters" else record["cost"] for record in records]


def candidates(group: Sequence[Search]) -> Figure:
    """Every candidate scored on the whole search set, seeds as diamonds, with the front of all searches."""
    kind, traces = group[0]["cost"], []
    every = distinct(group)
    seeds = {repr(record["architecture"]): record for record in every if record["seed"]}
    for index, strategy in enumerate(strategies(group)):
        some = [r for search in strategy.searches for r in whole(search) if repr(r["architecture"]) not in seeds]
        fitness = [record["fitness"] for record in some]
        traces.append(dots(strategy.name, costs(some, kind), fitness, colour(index), list(map(label, some))))
    told = list(seeds.values())
    marker = {"symbol": "diamond-open", "size": 9, "opacity": 1, "line": {"width": 1.5}}
    fitness, texts = [record["fitness"] for record in told], list(map(label, told))
    traces.append(dots("seeds", costs(told, kind), fitness, "var(--quiet)", texts) | {"marker": marker | QUIET})
    best = sorted(
        (x, record["fitness"])
        for x, record, keep in zip(costs(every, kind), every, on_front(every), strict=True)
        if keep
    )
    line = FRONT | {"shape": "hv"}
    x, y = [x for x, _ in best], [y for _, y in best]
    traces.insert(
        0, {"type": "scatter", "mode": "lines", "name": "front", "x": x, "y": y, "line": line, "hoverinfo": "skip"}
    )
    unit = "" if kind == "parameters" else ", share of dense"
    return {
        "data": [trace for trace in traces if trace["x"]],
        "layout": base_layout(f"← {LABELS[kind]}{unit}", f"{fitness_label(group[0])} ↓"),
    }


QUIET = {"color": "var(--quiet)"}


def fitness_label(search: Search) -> str:
    """What the search minimised, and on what."""
    return f"{WORDS[search['objective']]} on " + (
        "text" if search["objective"] in ("kl", "perplexity") else "search items"
    )


def hypervolumes(group: Sequence[Search]) -> Figure | None:
    """Hypervolume by evaluations: the mean over seeds with its 95 % interval, every seed faint below it."""
    traces: list[Figure] = []
    tops, bottoms, ends = [], [], []
    start = seeded(group)
    for index, strategy in enumerate(strategies(group)):
        curves = strategy.curves
        if not curves:
            continue
        several, tone = len(curves) > 1, colour(index)
        for one in curves if several else []:
            line = {"shape": "hv", "color": tone + "55", "width": 1}
            traces.append(
                {"type": "scatter", "mode": "lines", "x": one.spent.tolist(), "y": one.area.tolist(), "line": line}
                | {"showlegend": False, "hoverinfo": "skip", "legendgroup": strategy.name}
            )
        mean = band(curves)
        if mean.low is not None and mean.high is not None and len(curves) >= SHOWN_BANDS:
            for edge, fill in ((mean.low, None), (mean.high, "tonexty")):
                traces.append(
                    {"type": "scatter", "mode": "lines", "x": mean.spent.tolist(), "y": edge.tolist()}
                    | {"line": {"width": 0, "shape": "hv"}, "fill": fill, "fillcolor": tone + "22"}
                    | {"showlegend": False, "hoverinfo": "skip", "legendgroup": strategy.name}
                )
        name = strategy.name + (f", {len(curves)} seeds" if several else "")
        traces.append(
            {"type": "scatter", "mode": "lines", "name": escape(one_line(name), quote=False)}
            | {"x": mean.spent.tolist(), "y": mean.area.tolist(), "legendgroup": strategy.name}
            | {"line": {"shape": "hv", "color": tone, "width": 2.2}}
            | {"hovertemplate": "%{x:.0f} evaluations: %{y:.4f}<extra></extra>"}
        )
        tops += [one.area[-1] for one in curves]
        bottoms += [float(one.at(np.array([max(start, one.spent[0])]))[0]) for one in curves]
        ends += [one.spent[-1] for one in curves]
    if not traces:
        return None
    layout = base_layout("evaluations, seeds included", "hypervolume ↑")
    room = 0.08 * (max(tops) - min(bottoms)) or 0.1
    layout["yaxis"]["range"] = [max(0.0, min(bottoms) - room), max(tops) + room]  # a wide interval hides no line
    layout["xaxis"]["range"] = [start, max(ends)]
    layout["showlegend"] = True
    return {"data": traces, "layout": layout}


def seeded(group: Sequence[Search]) -> float:
    """The evaluations that the seeds, the same in all searches, took; 0 where little came after them."""
    counts = [sum(record["seed"] for record in whole(search)) for search in group]
    return float(min(counts)) if all(2 * min(counts) <= search["evaluations"] for search in group) else 0.0


def predictions(group: Sequence[Search]) -> Figure | None:
    """Predicted against measured fitness, told before measuring; the line is a perfect predictor."""
    traces = []
    for index, strategy in enumerate(strategies(group)):
        some = predicted([record for search in strategy.searches for record in whole(search)])
        x, y = [record["fitness"] for record in some], [record["predicted"] for record in some]
        traces.append(dots(strategy.name, x, y, colour(index), list(map(label, some))))
    words = fitness_label(group[0])
    return with_diagonal([t for t in traces if t["x"]], base_layout(f"measured {words}", "predicted before measuring"))


def accuracies(group: Sequence[Search]) -> Figure | None:
    """The cheap objective against accuracy on items that no search saw; colour is size."""
    some = checked(distinct(group))
    if not some:
        return None
    accuracy = 100 * held_out(some, "accuracy")
    scale = [[0, "#56B4E9"], [0.5, "#0072B2"], [1, "#D55E00"]]
    bar = {"title": {"text": "M parameters", "side": "right"}, "thickness": 10, "outlinewidth": 0}
    sizes = [record["parameters"] / 1e6 for record in some]
    trace = dots("candidates", [r["fitness"] for r in some], accuracy, "", list(map(label, some)))
    trace["marker"] |= {"color": sizes, "colorscale": scale, "colorbar": bar, "showscale": True}
    layout = base_layout(f"← {fitness_label(group[0])}", "accuracy on held-out items, % ↑")
    return {"data": [trace | {"showlegend": False}], "layout": layout}


def splits(group: Sequence[Search]) -> Figure | None:
    """The same loss on search items and on held-out ones; a front below the others' cloud is no luck."""
    curves = [each for search in group if (each := losses(search))]
    if not curves:
        return None
    texts = [list(map(label, each.records)) for each in curves]
    traces = []
    for words, tone, symbol, best in (
        ("not on the front", COLOURS[0], "circle", False),
        ("front", COLOURS[1], "square", True),
    ):
        masks = [each.front == best for each in curves]
        x = np.concatenate([each.search[mask] for each, mask in zip(curves, masks, strict=True)])
        y = np.concatenate([each.held_out[mask] for each, mask in zip(curves, masks, strict=True)])
        said = [
            text for each, mask in zip(texts, masks, strict=True) for text, keep in zip(each, mask, strict=True) if keep
        ]
        traces.append(dots(words, x, y, tone, said, symbol=symbol, size=9 if best else 7))
    words = WORDS[curves[0].measure]
    return with_diagonal(traces, base_layout(f"{words} where it searched", f"{words} where it did not"))


def with_diagonal(traces: list[Figure], layout: Figure) -> Figure | None:
    """The traces over the line where both axes agree; None without a point."""
    values = [value for trace in traces for value in (*trace["x"], *trace["y"])]
    if not values:
        return None
    ends = [min(values), max(values)]
    line = {"type": "scatter", "mode": "lines", "x": ends, "y": ends, "name": "equal", "hoverinfo": "skip"}
    return {"data": [line | {"line": {"dash": "dot", "width": 1, "color": "var(--quiet)"}}, *traces], "layout": layout}
