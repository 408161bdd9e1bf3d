"""`harness doctor scoring`: what our scorer costs against lm-eval's HFLM, and against the least that is possible."""

from __future__ import annotations

import json
from statistics import median
from typing import Any

from harness.verbs.engine import subject
from harness.verbs.terminal import console, show_table
from harness.verbs.words import number, one_of

HEADERS = (
    "task",
    "requests",
    "FLOPs / floor",
    "FLOPs: HFLM / ours",
    "floor: HFLM / floor",
    "CPU s: HFLM / ours",
    "CPU ratio",
    "wall ratio",
    "peak MB: HFLM / ours",
)


def scoring(words: list[str]) -> int:
    """Print a line a task: FLOPs counted by torch, CPU seconds and peak memory taken by turns. Times nothing but scoring."""
    found, asked = subject(words, "scoring", {"rounds": "2", "format": "table", "dtype": "auto"})
    form = one_of(asked["format"], ("table", "markdown", "json"), what="format")
    rounds = int(number(asked["rounds"], key="rounds"))
    from harness.measures.scoring import measure, together

    out, results = console(), []
    for spec in found.specs:
        with out.status(spec.name):
            instances = _instances(found.tasks[spec.name], found.limit)
            results.append(measure(spec.name, found.model, found.tokenizer, instances, rounds=rounds))
    if form == "json":
        print(json.dumps([_plain(result) for result in results], indent=1))
        return 0
    rows = [_cells(result) for result in (*results, *([together(results)] if len(results) > 1 else []))]
    title = f"scoring by turns, {found.name}, limit {found.limit or 'none'}, {rounds} rounds"
    show_table(HEADERS, rows, title=title, form=form)
    return 0


def _instances(parts: dict[str, Any], limit: int | None) -> list[Any]:
    instances = []
    for task in parts.values():
        task.build_all_requests(limit=limit, rank=0, world_size=1)
        instances += task.instances
    return instances


def _cells(result: Any) -> list[str]:
    ours, theirs = result.costs["tree"], result.costs["hflm"]
    return [
        result.name,
        f"{result.requests}",
        f"{result.above_floor:.3f}",
        f"{result.ratio('flops'):.2f}",
        f"{theirs.flops / result.floor_flops:.2f}",
        f"{median(theirs.cpu):.1f} / {median(ours.cpu):.1f}",
        f"{result.ratio('cpu'):.2f}",
        f"{result.ratio('wall'):.2f}",
        f"{max(theirs.peak) / 1e6:.0f} / {max(ours.peak) / 1e6:.0f}",
    ]


def _plain(result: Any) -> dict[str, Any]:
    costs = {kind: vars(cost) for kind, cost in result.costs.items()}
    return {"task": result.name, "requests": result.requests, "floor_flops": result.floor_flops, "costs": costs}
