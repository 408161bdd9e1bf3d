"""Every row for a spreadsheet or a data frame."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from reports.variants import Facts, Row
from reports.written.format import Format


class Csv(Format):
    """Every row for a spreadsheet or a data frame."""

    NAME: ClassVar[str] = "csv"
    FILES: ClassVar[tuple[str, ...]] = ("report.csv",)

    def text(self, rows: Sequence[Row], facts: Facts) -> str:
        from reports.run.machine import csv_text

        return csv_text(rows)
