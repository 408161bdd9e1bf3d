"""Rows as a pyarrow table: the columns of report.csv, with their types."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from reports.plain import plain
from reports.run import machine
from reports.variants import Row

if TYPE_CHECKING:
    import pyarrow


def table(rows: Sequence[Row]) -> pyarrow.Table:
    """Return a row for each variant; null where nothing was measured."""
    import pyarrow

    records = [plain(row) for row in rows]
    return pyarrow.table({key: _column([row.get(key) for row in records]) for key in machine.keys(rows)})


def _column(values: list[Any]) -> pyarrow.Array:
    """Return the values in the one type that holds them all.

    Text, as JSON has it, where they have no other in common.
    """
    import pyarrow

    try:
        return pyarrow.array(values)
    except (pyarrow.ArrowInvalid, pyarrow.ArrowTypeError):
        return pyarrow.array(
            [value if value is None or isinstance(value, str) else json.dumps(value) for value in values]
        )
