"""Write a run's report in every format into a folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from reports import html, plots, tables
from reports.variants import Facts, Row

FORMATS = ("html", "markdown", "csv", "json", "plot")


def write(rows: list[Row], facts: Facts, folder: Path, formats: Sequence[str] = FORMATS) -> dict[str, list[Path]]:
    """Write the asked formats and return their files by format."""
    folder.mkdir(parents=True, exist_ok=True)
    texts = {
        "html": ("report.html", lambda: html.page(rows, facts)),
        "markdown": ("report.md", lambda: tables.markdown(rows, facts)),
        "csv": ("report.csv", lambda: tables.csv_text(rows)),
        "json": ("report.json", lambda: tables.json_text(rows, facts)),
    }
    written: dict[str, list[Path]] = {}
    for name in formats:
        if name == "plot":
            written[name] = plots.save(rows, facts, folder)
        else:
            file, text = texts[name]
            (folder / file).write_text(text(), encoding="utf-8")
            written[name] = [folder / file]
    return written
