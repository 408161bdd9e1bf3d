"""What every Pareto plot draws: the axes there are, and each variant's place on them."""

from collections.abc import Sequence
from dataclasses import dataclass

from harness.measures.all_measures import on_axes, quantity
from harness.quantities import AVERAGE, Quantity
from reports.pareto import front_mask
from reports.run.in_runtimes import compared
from reports.variants import Row, dense_row, name, number, ran, saves_nothing

AXES = tuple(on_axes())
SIZE = quantity("bytes_on_disk")


def decode_axis(rows: Sequence[Row]) -> Quantity:
    """The speed of decoding that all rows have in common.

    To dense in torch, where they were run in several runtimes.
    """
    return quantity("decode_of_torch" if compared(rows) else "decode_ratio")


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
        """True where the place on the x axis is no saving."""
        return saves_nothing(self.row)

    @property
    def label(self) -> str:
        """The budget, or the variant's name where there is none."""
        budget = number(self.row, "budget")
        return name(self.row) if budget is None else f"{budget:g}"


def errors(row: Row, axis: Quantity) -> tuple[float, float]:
    """Distances from the value to its lower and upper bound."""
    value, low, high = (number(row, axis.key + suffix) for suffix in ("", "_low", "_high"))
    if value is None or low is None or high is None:
        return 0.0, 0.0
    return max(0.0, value - low) * axis.scale, max(0.0, high - value) * axis.scale


def points(rows: Sequence[Row], axis: Quantity) -> list[Point]:
    """Every variant that ran and has both coordinates, in row order."""
    marks = []
    for row, on_front in zip(rows, front_mask(rows, axis.key), strict=True):
        x, y = number(row, axis.key), number(row, AVERAGE.key)
        if ran(row) and x is not None and y is not None:
            place = (x * axis.scale, y * AVERAGE.scale)
            marks.append(Point(row, *place, errors(row, axis), errors(row, AVERAGE), on_front))
    return marks


def staircase(marks: Sequence[Point]) -> tuple[list[float], list[float]]:
    """The front's corners by rising x."""
    corners = sorted((point.x, point.y) for point in marks if point.on_front)
    return [x for x, _ in corners], [y for _, y in corners]


def reference(rows: Sequence[Row], axis: Quantity) -> Point | None:
    """The dense model's point, or None where it has none."""
    dense = dense_row(rows)
    return next((point for point in points(rows, axis) if point.row is dense), None)
