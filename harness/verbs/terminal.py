"""The console that verbs print tables on, and tables of plain cells."""

from __future__ import annotations

import os
from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

from reports.pipes import escaped, pipes
from reports.terminal import Cell, Fitted, Head, Line


def console() -> Console:
    """Return a console as wide as the terminal; of COLUMNS (or 120) letters where the output is piped."""
    found = Console()
    return found if found.is_terminal else Console(width=int(os.environ.get("COLUMNS", "120")))


def show_table(
    headers: Sequence[str], rows: Sequence[Sequence[str]], *, title: str, form: str, last: Sequence[str] = ()
) -> None:
    """Print rows below their title, as Markdown where `form` says so. The first column is text, the others are numbers.

    Where the width is short, columns go from the right, those named in `last` after all others.
    """
    if form == "markdown":
        print(f"{escaped(title)}\n\n{pipes(headers, rows)}\n")
        return
    heads = [
        Head(header, "", (header in last) * len(headers) + len(headers) - index)
        for index, header in enumerate(headers[1:], start=1)
    ]
    lines = [Line(row[0], "", [Cell(cell) for cell in row[1:]]) for row in rows]
    console().print(Text(title, style="bold"), Fitted(heads, lines), "")
