"""Every runtime by name, from the files of this room.

Others bring theirs by the entry points `harness.runtimes`.
"""

from __future__ import annotations

from functools import cache

from harness import registry
from harness.runtimes.runtime import TORCH, Runtime
from harness.words.nearest import nearest


@cache
def runtimes() -> dict[str, type[Runtime]]:
    """Return the runtimes beside torch by name."""
    return registry.named("harness.runtimes", "harness.runtimes", Runtime)


def runtime(name: str) -> type[Runtime]:
    """Return the runtime of that name; ValueError where there is none."""
    if name not in runtimes():
        raise ValueError(f"runtimes: {name!r} is unknown; {nearest(name, [TORCH, *runtimes()])}")
    return runtimes()[name]
