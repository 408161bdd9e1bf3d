"""What a killed evaluation has scored already: one line a request, appended as it is known."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from harness.storage import lines


class Journal:
    """Answers by request. With a path they are read from the file and appended to it."""

    def __init__(self, path: Path | None = None) -> None:
        self.path = path
        self.found: dict[str, Any] = dict(lines.read(path)) if path is not None else {}

    def __contains__(self, key: str) -> bool:
        return key in self.found

    def __getitem__(self, key: str) -> Any:
        return self.found[key]

    def add(self, answers: Iterable[tuple[str, Any]]) -> None:
        """Keep (key, answer) pairs; an answer is anything that JSON holds."""
        new = list(answers)
        self.found.update(new)
        if self.path is not None:
            lines.append(self.path, new)


def request_key(*parts: Any) -> str:
    """Return the key of a request: equal token ids (or texts and options) have equal keys."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:32]
