"""`harness doctor`: check this installation and machine."""

from __future__ import annotations

from pathlib import Path

from harness.verbs.terminal import console
from harness.verbs.words import options


def doctor(words: list[str]) -> int:
    """Print every check; 1 when one is not in order."""
    asked = options(words, {"store": "harness-store"})
    from harness.doctor import run

    return run(Path(asked["store"]), console())
