"""Every row and the facts of the run, for programs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from reports.variants import Facts, Row
from reports.written.format import Format


class Json(Format):
    """Every row and the facts of the run, for programs."""

    NAME: ClassVar[str] = "json"
    FILES: ClassVar[tuple[str, ...]] = ("report.json",)

    def text(self, rows: Sequence[Row], facts: Facts) -> str:
        from reports.run.machine import json_text

        return json_text(rows, facts)
