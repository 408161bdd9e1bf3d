"""Answers written by hand, and a store that holds them as evaluations and runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from harness.evaluation.items import EMPTY, SCHEMA, scores
from harness.quantities import metric
from harness.storage.store import Store

METRICS = {"piqa": "acc", "arc": "acc_norm", "wikitext": "word_perplexity"}

Row = dict[str, Any]


def choice(task: str, number: int, right: bool, normed: bool, **more: Any) -> Row:
    """An item with three choices, the middle one right.

    The longest has the lowest likelihood a letter when it is wrong.
    """
    answer, answer_norm = (1 if right else 0), (1 if normed else 2)
    base = {"task": task, "part": task, "doc_id": number, "item": f"{task}-{number}", "cluster": f"c-{task}-{number}"}
    shown = {"question": f"Question {number} of {task}?", "choices": ["a stone", "a hen", "a [bold]cow[/bold]"]}
    scored = {"loglikelihoods": [-3.25, -4.5, -6.0], "lengths": [7, 5, 18], "byte_lengths": [7, 5, 18]}
    return EMPTY | base | shown | scored | {"prediction": answer, "prediction_norm": answer_norm, "target": 1} | more


def page(number: int, loss: float) -> Row:
    base = {"task": "wikitext", "part": "wikitext", "doc_id": number, "item": f"w-{number}", "cluster": f"w-{number}"}
    return (
        EMPTY | base | {"question": f"Page {number}", "loss": loss, "units": 40.0 + 10 * number, "byte_lengths": [300]}
    )


def answered(right: Sequence[int], normed: Sequence[int], losses: Sequence[float]) -> list[Row]:
    rows = [choice("piqa", number, bool(bit), False) for number, bit in enumerate(right)]
    rows += [choice("arc", number, False, bool(bit)) for number, bit in enumerate(normed)]
    return rows + [page(number, loss) for number, loss in enumerate(losses)]


DENSE = answered([1] * 10 + [0] * 10, [1, 1, 0, 0, 1, 0, 1, 1], [100.0, 130.0, 150.0])

BETTER = answered([0] + [1] * 17 + [0] * 2, [1, 1, 1, 0, 1, 0, 0, 1], [104.0, 131.0, 157.0])  # piqa: 1 lost, 8 gained

EQUAL = DENSE


class Stored:
    """A store written by hand."""

    def __init__(self, root: Path) -> None:
        self.store = Store(root)
        self.store.prepare()
        self.steps = 0

    def evaluation(self, rows: list[Row], metrics: dict[str, str], columns: Sequence[str] = ()) -> str:
        self.steps += 1
        key = f"{self.steps:040x}"[::-1]
        actual = {
            name: scores([row for row in rows if row["task"] == name], metric(kind)) for name, kind in metrics.items()
        }
        with self.store.draft(key) as draft:
            table = pa.Table.from_pylist(rows, schema=SCHEMA)
            pq.write_table(table.select(list(columns)) if columns else table, draft / "items.parquet")
            self.store.commit(key, draft, {"kind": "evaluate", "title": "evaluate", "result": {"tasks": actual}})
        return key

    def run(self, name: str, variants: dict[str, list[Row] | None], *, metrics: dict[str, str] = METRICS, columns=()):
        """Save a run; a variant without rows was planned and not scored."""
        listed = []
        for variant, rows in variants.items():
            key = "f" * 40
            if rows is not None:
                here = {task: kind for task, kind in metrics.items() if any(row["task"] == task for row in rows)}
                key = self.evaluation(rows, here, columns)
            listed.append({"name": variant, "chain": [], "measures": {"evaluate": key}})
        self.store.save_run({"id": name, "started": float(len(name)), "metrics": metrics, "variants": listed})
        return {variant["name"]: variant["measures"]["evaluate"] for variant in listed}
