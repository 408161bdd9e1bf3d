"""`harness doctor parity`: does our scorer answer what lm-eval's HFLM answers?

On every item of a suite.
"""

from __future__ import annotations

import json
import time
from typing import Any

from rich.text import Text

from harness.command.terminal import console, show_table
from harness.doctor.subject import Subject
from harness.evaluation.journal import Journal

HEADERS = (
    "task",
    "shots",
    "items",
    "log-likelihoods",
    "differing predictions",
    "near ties",
    "largest difference, nats",
    "ours",
    "stock",
)


def print_parity(subject: Subject, form: str) -> bool:
    """Print a line a task; return whether all tasks are answered as lm-eval's HFLM does.

    Answers are kept under the store, so an interrupted check goes on where it stopped.
    """
    results = []
    out = console()
    for spec in subject.specs:
        with out.status(Text(spec.name)):
            results.append(_task(subject, spec))
        if form == "table":
            out.print(_line(results[-1]), highlight=False, soft_wrap=True)
    if form == "json":
        print(json.dumps([result | {"parity": vars(result["parity"])} for result in results], indent=1))
    elif form == "markdown":
        show_table(HEADERS, [_cells(result) for result in results], title=subject.name, form=form)
    wrong = [result["name"] for result in results if not result["parity"].equal]
    verdict = f"{', '.join(wrong)} differ" if wrong else f"all {len(results)} tasks answer as stock HFLM does"
    out.print(f"{subject.name}: {verdict}", highlight=False, style="red" if wrong else None, soft_wrap=True)
    return not wrong


def _task(subject: Subject, spec: Any) -> dict[str, Any]:
    from harness.doctor.parity_check import compare
    from harness.evaluation.evaluate import lm_eval_rows
    from harness.evaluation.lm import StockLM, TreeLM

    rows, seconds = {}, {}
    for kind in (TreeLM, StockLM):
        journal = Journal(subject.folder / f"{kind.__name__}.jsonl")
        started = time.monotonic()
        scorer = kind(subject.model, subject.tokenizer, journal=journal)
        rows[kind] = lm_eval_rows(spec.name, subject.tasks[spec.name], scorer, subject.limit, spec.filter)
        seconds[kind] = time.monotonic() - started
    result = compare(spec.name, rows[TreeLM], rows[StockLM], spec.quantity)
    return {"name": spec.name, "shots": spec.shots, "seconds": seconds[TreeLM], "parity": result}


def _line(result: dict[str, Any]) -> str:
    counts = result["parity"]
    metrics = ", ".join(f"{name} {counts.ours[name]:.4f} / {counts.theirs[name]:.4f}" for name in counts.ours)
    return (
        f"{'same ' if counts.equal else 'OTHER'} {counts.task}: {counts.items} items, {counts.differing} predictions differ "
        f"({counts.near_ties} near ties), largest difference {counts.largest:.1e} nats; ours / stock {metrics}"
    )


def _cells(result: dict[str, Any]) -> list[str]:
    parity = result["parity"]
    counts = (result["shots"], parity.items, parity.likelihoods, parity.differing, parity.near_ties)
    sides = (" ".join(f"{value:.4f}" for value in side.values()) for side in (parity.ours, parity.theirs))
    return [parity.task, *map(str, counts), f"{parity.largest:.1e}", *sides]
