"""How a super-network is trained.

Which networks a step updates, and which of them learn from a teacher. Pure.
"""

from __future__ import annotations

from typing import Literal

Strategy = Literal["alternate", "instatune", "sandwich", "random", "standard"]
Teacher = Literal["inplace", "dense"]
Kind = Literal["full", "smallest", "sub"]
PASSES: dict[str, tuple[tuple[Kind, ...], ...]] = {  # the networks of a step, in turn from step to step
    "alternate": (("full",), ("sub",)),
    "instatune": (("sub",),),
    "sandwich": (("full", "smallest", "sub", "sub"),),
    "random": (("sub",),),
    "standard": (("full",),),
}
DISTILLED = frozenset({"alternate", "instatune", "sandwich"})


def networks(strategy: Strategy, step: int) -> tuple[Kind, ...]:
    """Return the networks that a step updates."""
    return PASSES[strategy][step % len(PASSES[strategy])]


def trained_passes(strategy: Strategy) -> int:
    """Return the backward passes of a step, the same in every step of a strategy."""
    return len(PASSES[strategy][0])


def teacher_passes(strategy: Strategy, teacher: Teacher, distill: float, step: int) -> int:
    """Return the forward passes of a step that only teach: none where the full network's own pass does."""
    kinds = networks(strategy, step)
    taught = bool(distill) and strategy in DISTILLED and kinds != ("full",)
    return int(taught and (teacher == "dense" or "full" not in kinds))
