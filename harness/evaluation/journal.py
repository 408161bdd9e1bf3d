"""What a killed evaluation has scored already: one line a request, appended as it is known."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any


class Journal:
    """Answers by request. With a path they are read from the file and appended to it; a torn last line is dropped."""

    def __init__(self, path: Path | None = None) -> None:
        self.path = path
        self.found: dict[str, Any] = {}
        if path is None or not path.exists():
            return
        whole = 0
        with path.open("rb") as stream:
            for line in stream:
                try:
                    key, answer = json.loads(line)
                except ValueError:
                    break
                self.found[key] = answer
                whole += len(line)
        os.truncate(path, whole)

    def __contains__(self, key: str) -> bool:
        return key in self.found

    def __getitem__(self, key: str) -> Any:
        return self.found[key]

    def add(self, answers: Iterable[tuple[str, Any]]) -> None:
        """Keep (key, answer) pairs; an answer is anything that JSON holds."""
        new = list(answers)
        self.found.update(new)
        if self.path is not None:
            with self.path.open("a") as stream:
                stream.write("".join(json.dumps(pair) + "\n" for pair in new))


def request_key(*parts: Any) -> str:
    """Return the key of a request: equal token ids (or texts and options) have equal keys."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:32]
