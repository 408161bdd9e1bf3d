"""Every searcher by name, from the files beside this one.

Others bring theirs by the entry points `harness.searchers`.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from harness import registry
from harness.nas.searchers.base import Searcher
from harness.words.nearest import nearest


@cache
def searchers() -> dict[str, type[Searcher]]:
    """Return all searchers by name."""
    return registry.named("harness.nas.searchers", "harness.searchers", Searcher)


def searcher(name: str, fields: Mapping[str, Any]) -> Searcher:
    """Return the searcher of that name with those settings.

    ValueError names the nearest searcher or setting; a value out of range is pydantic's error, a ValueError too.
    """
    if name not in searchers():
        raise ValueError(f"searcher {name} is unknown; {nearest(name, list(searchers()))}")
    kind = searchers()[name]
    for field in fields:
        if field not in kind.model_fields:
            raise ValueError(f"searcher {name} has no setting {field}; {nearest(field, list(kind.model_fields))}")
    return kind(**fields)
