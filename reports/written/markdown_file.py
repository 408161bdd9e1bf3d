"""Tables for a README or an issue."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from reports.variants import Facts, Row
from reports.written.format import Format


class Markdown(Format):
    """Tables for a README or an issue."""

    NAME: ClassVar[str] = "markdown"
    FILES: ClassVar[tuple[str, ...]] = ("report.md",)

    def text(self, rows: Sequence[Row], facts: Facts) -> str:
        from reports.run.tables import markdown

        return markdown(rows, facts)
