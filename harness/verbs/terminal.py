"""The console that verbs print tables on, and tables of plain cells."""

from __future__ import annotations

import os
from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table

from reports.pipes import escaped, pipes


def console() -> Console:
    """Return a console as wide as the terminal; of COLUMNS (or 120) letters where the output is piped."""
    found = Console()
    return found if found.is_terminal else Console(width=int(os.environ.get("COLUMNS", "120")))


def show_table(headers: Sequence[str], rows: Sequence[Sequence[str]], *, title: str, form: str) -> None:
    """Print rows below their title, as Markdown where `form` says so. The first column is text, the others are numbers."""
    if form == "markdown":
        print(f"{escaped(title)}\n\n{pipes(headers, rows)}\n")
        return
    table = Table(title=title, box=box.SIMPLE_HEAD)
    for index, header in enumerate(headers):
        table.add_column(header, justify="right" if index else "left", no_wrap=not index)
    for row in rows:
        table.add_row(*row)
    console().print(table)
