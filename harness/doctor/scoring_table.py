"""`harness doctor scoring`: what our scorer costs against lm-eval's HFLM.

And against the least that is possible.
"""

from __future__ import annotations

import json
from statistics import median
from typing import Any

from rich.text import Text

from harness.command.terminal import console, show_table
from harness.doctor.scoring_cost import measure, together
from harness.doctor.subject import Subject

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


def print_scoring(subject: Subject, rounds: int, form: str) -> None:
    """Print a line a task: FLOPs counted by torch, CPU seconds and peak memory of both in turn."""
    out, results = console(), []
    for spec in subject.specs:
        with out.status(Text(spec.name)):
            instances = _instances(subject.tasks[spec.name], subject.limit)
            results.append(measure(spec.name, subject.model, subject.tokenizer, instances, rounds=rounds))
    if form == "json":
        print(json.dumps([_plain(result) for result in results], indent=1))
        return
    rows = [_cells(result) for result in (*results, *([together(results)] if len(results) > 1 else []))]
    title = f"scoring in turn, {subject.name}, limit {subject.limit or 'none'}, {rounds} rounds"
    show_table(HEADERS, rows, title=title, form=form)


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
