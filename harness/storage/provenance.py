"""Whether a stored result was made by the code and libraries that are installed now.

Its key does not hold all of them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from harness.machine import environment
from harness.storage import sources

LIBRARIES = tuple(name for name in environment.PACKAGES if name != "llm-compression-harness")


def differences(record: dict[str, Any]) -> list[str]:
    """Return what made a stored step and is another now.

    Our modules by name, libraries with both versions.
    """
    made = record.get("environment") or {}
    sentences = [f"{module} was edited" for module in sources.changed(record.get("code") or {})]
    return sentences + [
        f"{name} {made[name]} then, {now} now"
        for name in LIBRARIES
        if name in made and made[name] != (now := _now(name))
    ]


def _now(library: str) -> str:
    return environment.version(library)


def sentence(outdated: Iterable[list[str]], count: int) -> str:
    """Return a line about the outdated ones among `count` stored steps, each given by its differences.

    Empty for none.
    """
    lists = list(outdated)
    if not lists:
        return ""
    causes = list(dict.fromkeys(cause for each in lists for cause in each))
    shown = ", ".join(causes[:4]) + (f" and {len(causes) - 4} more" if len(causes) > 4 else "")
    return (
        f"{len(lists)} of {count} stored steps were made by other code than is installed ({shown}); "
        "harness run redo=changed makes them again"
    )
