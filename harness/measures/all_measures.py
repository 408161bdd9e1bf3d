"""Every measure by name, and the one table of their quantities."""

from __future__ import annotations

from functools import cache

from harness import registry
from harness.measures.measure import Measure
from harness.quantities import AVERAGE, COSTS, DIFFERENCE, Quantity


@cache
def measures() -> dict[str, type[Measure]]:
    """Return all measures by name.

    The files of this room, and what others bring by the entry points `harness.measures`.
    """
    return registry.named("harness.measures", "harness.measures", Measure)


@cache
def table() -> dict[str, Quantity]:
    """Return every quantity by the key of a row, but for those at batches that only a run knows."""
    declared = [each for measure in measures().values() for each in measure.QUANTITIES]
    return {each.key: each for each in (*declared, AVERAGE, DIFFERENCE, *COSTS)}


def known(key: str) -> Quantity | None:
    """Return what a row key holds, None where no measure knows it."""
    if key in table():
        return table()[key]
    return next((each for measure in measures().values() if (each := measure.quantity(key))), None)


def quantity(key: str) -> Quantity:
    """Return what the row key holds.

    ValueError for what nobody declares, as its direction would be a guess.
    """
    if each := known(key):
        return each
    raise ValueError(f"{key} is no quantity of a measure, so nobody says whether more of it is better")


def in_column(name: str) -> list[Quantity]:
    """Return the quantities of a table, from the left."""
    shown = [(each.column.place, each) for each in table().values() if each.column and each.column.table == name]
    return [each for _, each in sorted(shown, key=lambda pair: pair[0])]


def on_axes() -> list[Quantity]:
    """Return the quantities that may stand against the average on a front.

    They are in the order of the page's buttons.
    """
    places = [(each.button.place, each) for each in table().values() if each.button]
    return [each for _, each in sorted(places, key=lambda pair: pair[0])]
