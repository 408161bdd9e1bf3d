"""The folder that a report is written into."""

from __future__ import annotations

from pathlib import Path

from harness.storage.writable import writable


def check_report(folder: Path) -> None:
    """Raise ValueError where a report cannot be written into `folder`.

    Or where it would replace files that are not ours.
    """
    from reports.written.folder import foreign

    writable(folder, "report")
    if others := foreign(folder):
        raise ValueError(
            f"report={folder} holds {', '.join(others)}, which no harness wrote; choose another folder with report=FOLDER"
        )
