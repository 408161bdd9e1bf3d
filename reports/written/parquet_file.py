"""Every row for a data frame, with its types: numbers are numbers, what was not measured is null."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from reports.variants import Facts, Row
from reports.written.format import Format


class Parquet(Format):
    """Every row for a data frame, typed."""

    NAME: ClassVar[str] = "parquet"
    FILES: ClassVar[tuple[str, ...]] = ("report.parquet",)

    def write(self, rows: Sequence[Row], facts: Facts, folder: Path) -> list[Path]:
        import pyarrow.parquet as pq

        from reports.run.arrow import table

        path = folder / self.FILES[0]
        pq.write_table(table(rows), path)
        return [path]
