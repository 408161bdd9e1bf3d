"""What is known of each candidate, appended to a file as it is scored.

A killed search repeats nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.nas.architecture import Architecture, parse
from harness.nas.tally import Tally
from harness.storage import lines


@dataclass
class Record:
    """One candidate: the tally of each chunk that it was scored on.

    And its measured latency where that is the cost.
    """

    tallies: dict[int, Tally] = field(default_factory=dict)
    latency: float | None = None


class Records:
    """Candidates by architecture. Each line of the file adds a fact to one."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.found: dict[Architecture, Record] = {}
        for entry in lines.read(path):
            self._take(parse(entry["architecture"]), entry)

    def get(self, architecture: Architecture) -> Record:
        """Return what is known of a candidate, empty for a new one."""
        return self.found.get(architecture, Record())

    def add(self, architecture: Architecture, **facts: Any) -> None:
        """Keep `chunk` and `tally`, or `latency`, of a candidate."""
        self._take(architecture, facts)
        lines.append(self.path, [{"architecture": architecture.plain(), **facts}])

    def _take(self, architecture: Architecture, entry: dict[str, Any]) -> None:
        record = self.found.setdefault(architecture, Record())
        if "tally" in entry:
            record.tallies[int(entry["chunk"])] = entry["tally"]
        if "latency" in entry:
            record.latency = entry["latency"]
