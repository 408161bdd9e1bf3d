"""What a model cannot do of what a run asks, told before any work.

Methods for other families, texts longer than it reads.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from harness.measures.measure import Measure
from harness.models.described import Description
from harness.spec import CalibrationSpec, Method, Spec, Step


def check_families(recipe: str, methods: Sequence[Method], model: Description) -> None:
    """Raise ValueError where a method of the recipe does not take the model's family.

    One that is not told is let pass.
    """
    for method in methods:
        taken = method.families
        if model.family and taken is not None and model.family not in taken:
            raise ValueError(f"{recipe}: {method.NAME} takes {', '.join(sorted(taken))} decoders, not {model.family}")


def too_long(steps: Iterable[Step], model: Description) -> list[str]:
    """Return a line for each length that a step asks for and the model has not the positions for."""
    if model.positions is None:
        return []
    asked = dict.fromkeys(pair for step in steps for pair in _lengths(step))
    return [
        f"{what}={length}, but the model has {model.positions} positions"
        for what, length in asked
        if length > model.positions
    ]


def _lengths(step: Step) -> Iterator[tuple[str, int]]:
    for spec in (step, *(value for value in dict(step).values() if isinstance(value, Spec))):
        if isinstance(spec, Measure):
            if longest := spec.longest():
                yield longest
        elif isinstance(spec, CalibrationSpec):
            yield (
                "calibration.length" if spec is dict(step).get("calibration") else "length of search text",
                spec.length,
            )
        elif isinstance(spec, Step) and isinstance(length := getattr(spec, "length", None), int):
            yield f"{spec.KIND}'s length", length
