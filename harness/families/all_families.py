"""Every family by name, from the files of this room.

Others bring theirs by the entry points `harness.families`.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import pkgutil
from functools import cache

from harness.families.family import SCALES, Family


@cache
def families() -> dict[str, Family]:
    """Return all families by their names in transformers; ValueError where two have one name."""
    place = importlib.import_module("harness.families")
    modules = [
        importlib.import_module(f"{place.__name__}.{info.name}") for info in pkgutil.iter_modules(place.__path__)
    ]
    records = [module.FAMILY for module in modules if hasattr(module, "FAMILY")]
    records += [entry.load() for entry in importlib.metadata.entry_points(group="harness.families")]
    by_name: dict[str, Family] = {}
    for record in records:
        if by_name.setdefault(record.name, record) is not record:
            raise ValueError(f"two families are called {record.name}")
    return by_name


def known(name: str) -> Family:
    """Return the family of that name; of one that nobody describes, what any model may have."""
    return families().get(name) or Family(name, scales=SCALES)
