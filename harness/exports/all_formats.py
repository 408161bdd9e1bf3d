"""Every export format by name, from the files of this room.

Others bring theirs by the entry points `harness.exports`.
"""

from __future__ import annotations

from functools import cache

from harness import registry
from harness.exports.export_format import Export


@cache
def formats() -> dict[str, type[Export]]:
    """Return the formats by name."""
    return registry.named("harness.exports", "harness.exports", Export)
