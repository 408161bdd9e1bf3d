"""What a report says where variants were run in several runtimes."""

from collections.abc import Sequence

from harness.measures.speed import OF_TORCH, RATIO
from harness.runtimes.runtime import TORCH
from reports.variants import Row


def elsewhere(rows: Sequence[Row]) -> list[str]:
    """The runtimes beside torch that rows were run in, each once."""
    return [name for name in dict.fromkeys(str(row.get("runtime") or TORCH) for row in rows) if name != TORCH]


def add_torch_ratios(rows: Sequence[Row]) -> None:
    """Put the ratio to dense in torch into torch's own rows.

    There it is the ratio to dense in the same runtime.
    """
    if not elsewhere(rows):
        return
    for row in rows:
        if row.get("runtime", TORCH) == TORCH:
            row |= {key.replace("_ratio", "_of_torch"): value for key, value in row.items() if _is_ratio(key)}


def _is_ratio(key: str) -> bool:
    return RATIO.fullmatch(key.removesuffix("_low").removesuffix("_high")) is not None


def compared(rows: Sequence[Row]) -> bool:
    """Whether a row has a ratio to the dense model in torch."""
    return any(OF_TORCH.fullmatch(key) for row in rows for key in row)


def notes(rows: Sequence[Row]) -> list[str]:
    """What tells rows of other runtimes apart, and what their scores are of; empty where there are none."""
    return [
        f":{name} rows: size, memory and speed in that runtime, with as many threads; scores are computed in torch with the "
        "weights that its files hold."
        for name in elsewhere(rows)
    ]
