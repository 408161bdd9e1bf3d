"""The page for a browser."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from reports.variants import Facts, Row
from reports.written.format import Format


class Html(Format):
    """The page for a browser."""

    NAME: ClassVar[str] = "html"
    FILES: ClassVar[tuple[str, ...]] = ("report.html",)

    def text(self, rows: Sequence[Row], facts: Facts) -> str:
        from reports.page.html import page

        return page(rows, facts)
