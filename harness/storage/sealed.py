"""JSON files that carry their own checksum.

A changed digit, a cut or an empty file is told, never believed.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

SEAL = "checksum"


class Damaged(ValueError):
    """A file of ours, `path`, whose content is not what was written."""

    def __init__(self, path: Path, why: str) -> None:
        super().__init__(f"{path}: {why}")
        self.path, self.why = path, why


def write_json(path: Path, content: Any) -> None:
    """Write `content` so that a reader sees the old file or the new one, never half of one."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with draft.open("w") as stream:
            json.dump(content, stream, indent=1, allow_nan=False)
            stream.flush()
            os.fsync(stream.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)  # a full disk leaves no half of one behind


def write_sealed(path: Path, content: dict[str, Any]) -> None:
    """Write a mapping with its checksum in it."""
    write_json(path, {**content, SEAL: seal(content)})


def read_sealed(path: Path) -> dict[str, Any]:
    """Return the mapping that `write_sealed` wrote, without its checksum.

    Damaged says what is wrong with the file.
    """
    try:
        content = json.loads(path.read_bytes())
    except OSError as error:
        raise Damaged(path, f"cannot be read ({error.strerror or error})") from None
    except (ValueError, RecursionError):
        raise Damaged(path, "is no whole JSON file: cut short, empty or overwritten") from None
    if not isinstance(content, dict) or SEAL not in content:
        raise Damaged(path, "carries no checksum: it was edited, or written by a version that gave none")
    digest = content.pop(SEAL)
    if digest != seal(content):
        raise Damaged(path, "does not match its own checksum: it was changed after it was written")
    return content


def seal(content: dict[str, Any]) -> str:
    """Return the sha256 (hex) of a mapping's JSON, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(content, sort_keys=True, allow_nan=False).encode()).hexdigest()
