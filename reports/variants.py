"""Questions about one variant's row: did it run, is it the dense reference, what is its number."""

import math
from collections.abc import Sequence
from typing import Any

from harness.words.reasons import one_line

Row = dict[str, Any]
Facts = dict[str, Any]


def number(row: Row, key: str) -> float | None:
    """The finite number under `key`, or None where nothing (or NaN) was measured."""
    value = row.get(key)
    if value is None or isinstance(value, (bool, str)):
        return None
    return float(value) if math.isfinite(value) else None


def ran(row: Row) -> bool:
    """True unless the variant failed or was skipped."""
    return row.get("status") in (None, "ok")


def name(row: Row) -> str:
    """The variant's name as one printable line."""
    return one_line(row.get("variant") or "unnamed")


def failure(row: Row) -> str:
    """`failed: reason` as one printable line."""
    return one_line(f"{row.get('status')}: {row.get('reason') or 'no reason recorded'}")


def saves_nothing(row: Row) -> bool:
    """True where size, memory and speed are no savings.

    Zeros stored densely, or quantized values computed in floating point.
    """
    return bool(row.get("simulated") or row.get("emulated"))


def unquantized(row: Row) -> bool:
    """True for weights left in the working precision."""
    return row.get("quantizer") in (None, "none")


def quantizers(rows: Sequence[Row]) -> list[str]:
    """The names of the quantizers that rows went through, each once."""
    return list(dict.fromkeys(one_line(row["quantizer"]) for row in rows if not unquantized(row)))


def quantized(rows: Sequence[Row]) -> str:
    """What legends call quantized rows: their quantizers' names."""
    return ", ".join(quantizers(rows)) or "quantized"


def is_dense(row: Row) -> bool:
    """True for the untouched model every ratio and difference refers to."""
    return "dense" in (row.get("method"), row.get("variant")) and unquantized(row)


def dense_row(rows: Sequence[Row]) -> Row | None:
    """The dense reference, or None where it is absent or failed."""
    return next((row for row in rows if is_dense(row) and ran(row)), None)
