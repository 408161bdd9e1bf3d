"""What a table's head says before any number.

Rows that were not scored as asked, or not on all that was asked.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from harness.bytes_budget import share_of_dense
from reports.variants import Row, dense_row, name, number, one_line

NEAR = 0.02  # share of the dense parameters by which papers' roundings to whole layers miss a budget at most, or it is said


def scoring(result: Mapping[str, Any]) -> Row:
    """What an evaluation's stored result says of its scorer and of what it cut, as entries of a row."""
    scorer = result.get("scorer") or {}
    cut, windows = result.get("cut") or {}, result.get("windows") or {}
    return {
        "scored_by": scorer.get("used"),
        "scored_otherwise": scorer.get("why") or None,
        "scorer_difference": scorer.get("largest"),  # nats a token, the most that the packed scorer was off by
        "longest_request": result.get("reads"),
        "cut_requests": sum(cut.values()) if cut else None,
        "cut_tasks": ", ".join(f"{task} {count}" for task, count in cut.items()) or None,
        "short_windows": ", ".join(f"{task} {asked}" for task, asked in windows.items()) or None,
    }


def cautions(rows: Sequence[Row]) -> list[str]:
    """One sentence for each reason, naming its rows; empty where all was scored as asked."""
    by_sentence: dict[str, list[str]] = {}
    dense = dense_row(rows)
    for row in rows:
        for words in _of(row, dense):
            by_sentence.setdefault(words, []).append(name(row))
    return [f"{_names(names, len(rows))}: {words}" for words, names in by_sentence.items()]


def _missed(row: Row, dense: Row | None) -> float | None:
    """The share of the dense parameters that a row has, where it is not what its budget says.

    Of a sequence budgets multiply.
    """
    budget, whole, kept = number(row, "budget"), number(dense or {}, "parameters"), number(row, "parameters")
    alone = "+" not in str(row.get("method")) and row.get("quantizer") in (None, "none") and not row.get("simulated")
    if budget is None or not whole or kept is None or not alone or abs(kept / whole - budget) <= NEAR:
        return None
    return kept / whole


def _missed_bytes(row: Row, dense: Row | None) -> float | None:
    """The share of the dense bytes in 16 bits that a row takes, where it is not what was asked for."""
    asked, whole, taken = number(row, "bytes_asked"), number(dense or {}, "parameters"), number(row, "bytes_on_disk")
    if asked is None or not whole or taken is None:
        return None
    share = share_of_dense(taken, whole)
    return None if abs(share / asked - 1) <= NEAR else share


def _of(row: Row, dense: Row | None) -> Iterator[str]:
    if why := row.get("scored_otherwise"):
        yield f"scored by lm-eval's own HFLM, not by the packed scorer: {one_line(why)}."
    reads = row.get("longest_request")
    if row.get("cut_requests"):
        yield (
            f"requests longer than the {reads} tokens that the model reads lost their beginnings, as in lm-eval: "
            f"{row['cut_tasks']}."
        )
    if (share := _missed(row, dense)) is not None:
        yield f"{share:.1%} of the dense parameters stay, not the budget that the row is called by."
    if (share := _missed_bytes(row, dense)) is not None:
        yield f"{share:.1%} of the dense bytes in 16 bits, not the {row['bytes_asked']:.0%} asked for."
    if row.get("short_windows"):
        yield f"windows of {reads} tokens, all that the model reads, not as asked: {row['short_windows']}."


def _names(names: Sequence[str], rows: int) -> str:
    return "all rows" if len(names) == rows > 1 else ", ".join(names)
