"""What every measure of a checkpoint says of itself.

Its quantities, when a run wants it, and what of its result is a row.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Self

from harness.quantities import Quantity
from harness.spec import Step

if TYPE_CHECKING:
    from harness.config import MeasureConfig


class Measure(Step):
    """A step behind a checkpoint that makes none.

    A file with one is a measure: `measures=[NAME, ...]` asks for it.

    Columns, plots, fronts, the page and the gate read QUANTITIES; a number may have a `KEY_low` and a `KEY_high` beside it.
    """

    NAME: ClassVar[str]  # in measures=[...], and of the step
    QUANTITIES: ClassVar[tuple[Quantity, ...]] = ()
    TIMED: ClassVar[bool] = False  # timed work comes last, when nothing else is left to do
    BESIDE_DENSE: ClassVar[bool] = False  # needs the dense checkpoint too, and in a runtime the dense artifact
    IN_RUNTIMES: ClassVar[bool] = False  # has a field `runtime`, and measures what other runtimes than torch load

    @classmethod
    def of_run(cls, settings: MeasureConfig, fingerprint: str) -> Self:
        """Return the measure with a run's settings, on the machine of `fingerprint`."""
        raise NotImplementedError(f"{cls.__name__} must implement of_run")

    def in_runtime(self, name: str, version: str) -> Self:
        """Return the measure of what the runtime `name` loads, computed by its library of that version."""
        return self.model_copy(update={"runtime": name, "library": version})

    @classmethod
    def unavailable(cls, device: str) -> str:
        """Return why this machine cannot measure it and what to do; empty where it can."""
        return ""

    def longest(self) -> tuple[str, int] | None:
        """Return the longest text that it reads, in tokens, behind what it is called.

        None where no length matters.
        """
        return None

    @classmethod
    def quantity(cls, key: str) -> Quantity | None:
        """Return what the row key holds; None where it is not of this measure."""
        return next((each for each in cls.QUANTITIES if each.key == key), None)

    @classmethod
    def row(cls, result: Mapping[str, Any]) -> dict[str, Any]:
        """Return what of a stored result stands in the variant's row."""
        return dict(result)
