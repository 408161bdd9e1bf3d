"""A format of reports: its name, the files it writes, and what they hold."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from reports.variants import Facts, Row


class Format:
    """A way to write a run's rows down. `files` are the names in the report's folder.

    Most formats have one, a text.
    """

    NAME: ClassVar[str]
    FILES: ClassVar[tuple[str, ...]]

    def text(self, rows: Sequence[Row], facts: Facts) -> str:
        """Return what the one file holds."""
        raise NotImplementedError(f"{type(self).__name__} must implement text or write")

    def write(self, rows: Sequence[Row], facts: Facts, folder: Path) -> list[Path]:
        """Write the files into `folder` and return them."""
        path = folder / self.FILES[0]
        # a lone surrogate, out of somebody's message, is no letter of UTF-8
        path.write_text(self.text(rows, facts), encoding="utf-8", errors="backslashreplace")
        return [path]
