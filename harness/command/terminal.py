"""The console that verbs print tables on, and tables of plain cells."""

from __future__ import annotations

import os
from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

from reports.grid import Cell, Fitted, Head, Line
from reports.pipes import escaped, pipes

WIDTH = 120  # letters, where the output is piped and COLUMNS says nothing
NARROWEST = 40  # below that nothing of a table is left


def console(*, stderr: bool = False) -> Console:
    """Return a console as wide as the terminal; of COLUMNS (or 120) letters where the output is piped.

    What it prints is text: names, reasons and messages of others may hold brackets, which are no markup.
    """
    width = _columns(os.environ.get("COLUMNS", ""))
    rest = {name: value for name, value in os.environ.items() if name != "COLUMNS"}  # rich would take a 0 at its word
    made = Console(markup=False, highlight=False, emoji=False, stderr=stderr, _environ=rest)
    if made.is_terminal and width is None:
        return made
    return Console(markup=False, highlight=False, emoji=False, stderr=stderr, _environ=rest, width=width or WIDTH)


def _columns(written: str) -> int | None:
    """Return the width that COLUMNS asks for; None where it names none, or less than a table fits in."""
    return int(written) if written.isascii() and written.isdecimal() and int(written) >= NARROWEST else None


def show_table(
    headers: Sequence[str], rows: Sequence[Sequence[str]], *, title: str, form: str, last: Sequence[str] = ()
) -> None:
    """Print rows below their title, as Markdown where `form` says so.

    The first column is text, the others are numbers.

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
