"""Every searcher by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.data.places import nearest
from harness.nas.searchers.base import Searcher
from harness.nas.searchers.evolution import Evolution
from harness.nas.searchers.linas import Linas
from harness.nas.searchers.morea import Morea
from harness.nas.searchers.nsga2 import Nsga2
from harness.nas.searchers.puzzle import Puzzle
from harness.nas.searchers.random import Random
from harness.nas.searchers.stratified import Stratified

SEARCHERS: dict[str, type[Searcher]] = {
    kind.NAME: kind for kind in (Random, Stratified, Nsga2, Morea, Linas, Evolution, Puzzle)
}


def searcher(name: str, fields: Mapping[str, Any]) -> Searcher:
    """Return the searcher of that name with those settings.

    ValueError names the nearest searcher or setting; a value out of range is pydantic's error, a ValueError too.
    """
    if name not in SEARCHERS:
        raise ValueError(f"searcher {name} is unknown; {nearest(name, list(SEARCHERS))}")
    kind = SEARCHERS[name]
    for field in fields:
        if field not in kind.model_fields:
            raise ValueError(f"searcher {name} has no setting {field}; {nearest(field, list(kind.model_fields))}")
    return kind(**fields)
