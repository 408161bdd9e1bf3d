"""The plots of accuracy against size and speed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from reports.variants import Facts, Row
from reports.written.format import Format


class Plot(Format):
    """The plots of accuracy against size and speed, for papers and slides."""

    NAME: ClassVar[str] = "plot"
    FILES: ClassVar[tuple[str, ...]] = ("pareto.png", "pareto.svg")

    def write(self, rows: Sequence[Row], facts: Facts, folder: Path) -> list[Path]:
        from reports.page import plots  # matplotlib takes a second

        return plots.save(list(rows), facts, folder)
