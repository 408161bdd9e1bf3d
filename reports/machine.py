"""CSV and JSON: every row, the keys as stored, in an order that does not change."""

import csv
import io
import json
import math
from collections.abc import Iterable, Sequence
from typing import Any

from reports import method_fronts, search_summary
from reports.variants import Facts, Row

FIRST = (
    "variant",
    "checkpoint",
    "method",
    "budget",
    "quantizer",
    "parameters",
    "nonzero_parameters",
    "bytes_on_disk",
    "prefill_ratio",
    "decode_ratio",
    "peak_memory_bytes",
)
AFTER_TASKS = ("simulated", "status")
SCORES = ("acc", "acc_norm", "stderr")


def keys(rows: Sequence[Row], tasks: Iterable[str] = ()) -> list[str]:
    """The column order: FIRST, `<task>.*` in task order, AFTER_TASKS, the rest sorted."""
    seen = list(dict.fromkeys(key for row in rows for key in row))
    dotted = [key for key in seen if "." in key]
    order = list(dict.fromkeys([*tasks, *(key.rpartition(".")[0] for key in dotted)]))

    def rank(key: str) -> tuple[int, int, str]:
        task, _, score = key.rpartition(".")
        return order.index(task), SCORES.index(score) if score in SCORES else len(SCORES), score

    fixed = [*FIRST, *sorted(dotted, key=rank), *AFTER_TASKS]
    return fixed + sorted(set(seen) - set(fixed))


def plain(value: Any) -> Any:
    """The value in JSON's types: NaN and infinities are null, numpy scalars and paths are what they stand for."""
    if isinstance(value, dict):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(inner) for inner in value]
    if hasattr(value, "tolist"):  # numpy scalars and arrays
        return plain(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, (bool, int, str)) else str(value)


def csv_text(rows: Sequence[Row]) -> str:
    """One line a row under a header of keys; what was not measured is empty, booleans are true and false."""
    order = keys(rows)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(order)
    writer.writerows([[field(row.get(key)) for key in order] for row in rows])
    return text.getvalue()


def field(value: Any) -> str:
    """One CSV field."""
    value = plain(value)
    if value is None or isinstance(value, str):
        return value or ""
    return json.dumps(value)


def json_text(rows: Sequence[Row], facts: Facts) -> str:
    """`{"facts": …, "rows": […]}`; every row has every key, null where nothing was measured; searches as their numbers."""
    order = keys(rows, [entry["name"] for entry in facts.get("tasks") or []])
    searched = {"searches": search_summary.plain(facts["searches"])} if facts.get("searches") else {}
    if facts.get("method_fronts"):
        searched["method_fronts"] = method_fronts.plain(facts["method_fronts"])
    content = {"facts": plain(facts | searched), "rows": [{key: plain(row.get(key)) for key in order} for row in rows]}
    return json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
