"""CSV and JSON: every row, the keys as stored, in an order that does not change."""

import csv
import io
import json
from collections.abc import Iterable, Sequence
from typing import Any

from reports.plain import plain
from reports.run import method_fronts
from reports.search import summary as search_summary
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
AFTER_TASKS = ("simulated", "emulated", "status")
FORMULA = ("=", "+", "-", "@", "\t", "\r")  # with which a cell of text begins that a spreadsheet computes
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


def csv_text(rows: Sequence[Row]) -> str:
    """One line a row under a header of keys; what was not measured is empty, booleans are true and false."""
    order = keys(rows)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(map(field, order))
    writer.writerows([[field(row.get(key)) for key in order] for row in rows])
    return text.getvalue()


def field(value: Any) -> str:
    """One CSV field. Text that a spreadsheet would take for a formula gets an apostrophe ahead.

    Numbers stay numbers.
    """
    value = plain(value)
    if value is None or isinstance(value, str):
        text = f"'{value}" if (value or "").startswith(FORMULA) else value or ""
        return text.replace("\r\n", "\n").replace("\r", "\n")  # a bare carriage return would end the row, unquoted
    return json.dumps(value)


def json_text(rows: Sequence[Row], facts: Facts) -> str:
    """`{"facts": …, "rows": […]}`; every row has every key, null where nothing was measured.

    Searches as their numbers.
    """
    order = keys(rows, [entry["name"] for entry in facts.get("tasks") or []])
    searched = {"searches": search_summary.plain(facts["searches"])} if facts.get("searches") else {}
    if facts.get("method_fronts"):
        searched["method_fronts"] = method_fronts.plain(facts["method_fronts"])
    content = {"facts": plain(facts | searched), "rows": [{key: plain(row.get(key)) for key in order} for row in rows]}
    return json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
