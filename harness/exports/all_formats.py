"""Every export format by name: the files of this room, and what others bring by the entry points `harness.exports`."""

from __future__ import annotations

from functools import cache

from harness import registry
from harness.exports.export import Export


@cache
def formats() -> dict[str, type[Export]]:
    """Return the formats by name."""
    return registry.named("harness.exports", "harness.exports", Export)
