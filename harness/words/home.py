"""Paths as people write them, and as they are shown."""

from __future__ import annotations

import os
from pathlib import Path


def home(written: str | Path) -> Path:
    """Return the path with a leading ~ replaced by the home folder; as it is where there is no such user."""
    return Path(os.path.expanduser(str(written)))


def relative(path: Path) -> str:
    """Return the path as the user would write it."""
    try:
        return str(path.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(path)
