"""The folder of a report: written in every format, and never over files of others.

It is left alone where nothing changed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cache
from importlib import resources
from pathlib import Path

from harness import registry
from reports.run.machine import json_text
from reports.variants import Facts, Row
from reports.written.format import Format

MARK = ".harness-report"  # tells a folder of our reports from one whose files of the same names are somebody's


@cache
def formats() -> dict[str, type[Format]]:
    """Return all formats by name: ours, and what others bring by the entry points `harness.formats`."""
    return registry.named("reports.written", "harness.formats", Format)


def foreign(folder: Path) -> list[str]:
    """Return the files in `folder` that a report would replace and that are not ours."""
    if (folder / MARK).exists():
        return []
    return [file for form in formats().values() for file in form.FILES if (folder / file).exists()]


def write(rows: list[Row], facts: Facts, folder: Path, asked: Sequence[str] = ()) -> dict[str, list[Path]]:
    """Write the asked formats, or all, and return their files by format.

    ValueError where that would replace what is not ours.

    All of them together are left as they are where they hold these rows already, written by this code.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if others := foreign(folder):
        raise ValueError(f"{folder} holds {', '.join(others)}, which no harness wrote")
    files = {name: [folder / file for file in form.FILES] for name, form in formats().items()}
    content = digest(rows, facts)
    if not asked and _read(folder) == content and all(path.is_file() for paths in files.values() for path in paths):
        return files
    whole = not asked or _read(folder) == content
    (folder / MARK).touch()
    written = {name: formats()[name]().write(rows, facts, folder) for name in asked or formats()}
    (folder / MARK).write_text(content if whole else "")
    return written


def digest(rows: Sequence[Row], facts: Facts) -> str:
    """Return a hash of all that a report shows and of the code that shows it."""
    content = hashlib.sha256(json_text(rows, facts).encode("utf-8", errors="backslashreplace"))
    for top in ("reports", "harness"):
        for path in sorted(Path(str(resources.files(top))).rglob("*.*")):
            if path.suffix in (".py", ".js", ".css"):
                content.update(path.read_bytes())
    return content.hexdigest()


def _read(folder: Path) -> str:
    path = folder / MARK
    return path.read_text() if path.is_file() else ""
