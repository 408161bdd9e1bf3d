"""What every Pareto plot draws: the axes there are, and each variant's place on them."""

from collections.abc import Sequence
from dataclasses import dataclass

from reports.pareto import front_mask
from reports.variants import Row, dense_row, name, number, ran


@dataclass(frozen=True)
class Axis:
    """A row key, the label of its axis, and the factor from the stored to the drawn unit."""

    key: str
    label: str
    scale: float
    short: str


DECODE = Axis("decode_ratio", "decode throughput, × dense (batch 1) →", 1.0, "decode")
PREFILL = Axis("prefill_ratio", "prefill throughput, × dense (batch 1) →", 1.0, "prefill")
SIZE = Axis("bytes_on_disk", "← size on disk, MB", 1e-6, "size")
PARAMETERS = Axis("parameters", "← parameters, millions", 1e-6, "parameters")
MEMORY = Axis("peak_memory_bytes", "← peak memory, MB", 1e-6, "peak memory")
AXES = (DECODE, PREFILL, SIZE, PARAMETERS, MEMORY)  # the arrow points to better

AVERAGE = Axis("average", "average, % ↑", 100.0, "average")


@dataclass(frozen=True)
class Point:
    """A variant at (x, y) in drawn units, with the lengths of its error bars (zero where unknown)."""

    row: Row
    x: float
    y: float
    x_error: tuple[float, float]  # left, right
    y_error: tuple[float, float]  # down, up
    on_front: bool

    @property
    def hollow(self) -> bool:
        """True where zeros are stored densely, so that the place on the x axis is no saving."""
        return bool(self.row.get("simulated"))

    @property
    def label(self) -> str:
        """The budget, or the variant's name where there is none."""
        budget = number(self.row, "budget")
        return name(self.row) if budget is None else f"{budget:g}"


def errors(row: Row, axis: Axis) -> tuple[float, float]:
    """Distances from the value to its lower and upper bound."""
    value, low, high = (number(row, axis.key + suffix) for suffix in ("", "_low", "_high"))
    if value is None or low is None or high is None:
        return 0.0, 0.0
    return max(0.0, value - low) * axis.scale, max(0.0, high - value) * axis.scale


def points(rows: Sequence[Row], axis: Axis) -> list[Point]:
    """Every variant that ran and has both coordinates, in row order."""
    found = []
    for row, on_front in zip(rows, front_mask(rows, axis.key), strict=True):
        x, y = number(row, axis.key), number(row, AVERAGE.key)
        if ran(row) and x is not None and y is not None:
            place = (x * axis.scale, y * AVERAGE.scale)
            found.append(Point(row, *place, errors(row, axis), errors(row, AVERAGE), on_front))
    return found


def staircase(found: Sequence[Point]) -> tuple[list[float], list[float]]:
    """The front's corners by rising x."""
    corners = sorted((point.x, point.y) for point in found if point.on_front)
    return [x for x, _ in corners], [y for _, y in corners]


def reference(rows: Sequence[Row], axis: Axis) -> Point | None:
    """The dense model's point, or None where it has none."""
    dense = dense_row(rows)
    return next((point for point in points(rows, axis) if point.row is dense), None)
