"""A text grid that fits its width: aligned cells, rows that are one message, low priorities dropped."""

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions
from rich.text import Text

GAP = "  "


@dataclass(frozen=True)
class Cell:
    """A right-aligned text with a dimmer detail to its right."""

    text: str
    detail: str = ""
    style: str = ""


@dataclass(frozen=True)
class Line:
    """One table row: a left-aligned name, marks, then cells; or a `message` in place of the cells."""

    name: str
    marks: str
    cells: Sequence[Cell]
    message: str = ""
    style: str = ""


@dataclass(frozen=True)
class Head:
    """A two-line column header and what the column and its details are worth when width is short."""

    title: str
    subtitle: str
    priority: float = 0.0
    detail_priority: float = 0.0


def column_width(head: Head, cells: Sequence[Cell]) -> tuple[int, int, int]:
    """Widths of the text, of the detail, and of the whole column with its header."""
    text = max((cell_len(cell.text) for cell in cells), default=0)
    detail = max((cell_len(cell.detail) for cell in cells), default=0)
    return text, detail, max(text + detail + bool(detail), cell_len(head.title), cell_len(head.subtitle))


def without_details(lines: Sequence[Line], index: int) -> list[Line]:
    """The lines with the details of one column emptied."""
    kept = []
    for line in lines:
        cells = [Cell(c.text, "", c.style) if i == index else c for i, c in enumerate(line.cells)]
        kept.append(Line(line.name, line.marks, cells, line.message, line.style))
    return kept


def total_width(heads: Sequence[Head], lines: Sequence[Line], columns: Sequence[int]) -> int:
    """The printed width with only the `columns` columns."""
    names = max((cell_len(line.name) for line in lines), default=0)
    marks = max((cell_len(line.marks) for line in lines), default=0)
    widths = [column_width(heads[i], [line.cells[i] for line in lines if line.cells])[2] for i in columns]
    return names + (marks + 1 if marks else 0) + sum(len(GAP) + width for width in widths)


def fit(heads: Sequence[Head], lines: Sequence[Line], width: int) -> tuple[list[int], list[Line], list[str]]:
    """Kept column numbers, lines without dropped details, and the names of what was left out.

    What is kept takes at most `width` letters.
    """
    columns, left_out = list(range(len(heads))), []
    drops = [(head.priority, i, False) for i, head in enumerate(heads)]
    drops += [
        (head.detail_priority, i, True)
        for i, head in enumerate(heads)
        if any(line.cells and line.cells[i].detail for line in lines)
    ]
    for _, index, detail_only in sorted(drops):
        if total_width(heads, lines, columns) <= width or columns == [index]:
            break
        if index not in columns:
            continue
        if detail_only:
            lines = without_details(lines, index)
            left_out.append(f"{heads[index].title} {'%' if heads[index].subtitle.startswith('of ') else '±'}")
        else:
            columns.remove(index)
            left_out = [text for text in left_out if text[:-2] != heads[index].title] + [heads[index].title]
    return columns, list(lines), left_out


@dataclass(frozen=True)
class Fitted:
    """A rich renderable: a table whose columns that do not fit are left out and named.

    Some are named by another name.
    """

    heads: Sequence[Head]
    lines: Sequence[Line]
    called: Mapping[str, str] = field(default_factory=dict)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Text]:
        columns, rows, left_out = fit(self.heads, self.lines, options.max_width)
        rows = [Line(row.name, "", [row.cells[index] for index in columns], style=row.style) for row in rows]
        yield from grid([self.heads[index] for index in columns], rows, options.max_width)
        if left_out:
            named = ", ".join(self.called.get(name, name) for name in left_out)
            yield Text(f"left out at this width: {named}.", style="dim italic")


def grid(heads: Sequence[Head], lines: Sequence[Line], width: int) -> Iterator[Text]:
    """Header, rule and rows; a message wraps within `width`."""
    names = max((cell_len(line.name) for line in lines), default=0)
    marks = max((cell_len(line.marks) for line in lines), default=0)
    lead = names + (marks + 1 if marks else 0)
    widths = [column_width(h, [line.cells[i] for line in lines if line.cells]) for i, h in enumerate(heads)]
    for attribute in ("title", "subtitle") if any(head.subtitle for head in heads) else ("title",):
        heading = [pad_left(getattr(h, attribute), w[2]) for h, w in zip(heads, widths, strict=True)]
        yield Text(" " * lead + "".join(GAP + text for text in heading), style="bold", no_wrap=True)
    yield Text("─" * min(width, lead + sum(len(GAP) + w[2] for w in widths)), style="dim", no_wrap=True)
    for line in lines:
        row = Text(no_wrap=True)
        row.append(line.name + " " * (names - cell_len(line.name)), style=line.style)
        if marks:
            row.append(" " + line.marks + " " * (marks - cell_len(line.marks)), style="yellow")
        if line.message:
            yield from message(row, line.message, lead + len(GAP), width)
            continue
        for cell, (text, detail, whole) in zip(line.cells, widths, strict=True):
            left = whole - text - detail - bool(detail)
            row.append(GAP + " " * left + pad_left(cell.text, text), style=cell.style or line.style)
            if detail:
                row.append(" " + pad_left(cell.detail, detail), style="dim")
        yield row


def message(row: Text, words: str, indent: int, width: int) -> Iterator[Text]:
    """The row's start followed by the words, wrapped into the space the cells would have had."""
    wrapped = textwrap.wrap(words, max(20, width - indent))
    for number, part in enumerate(wrapped):
        start = row if number == 0 else Text(" " * (indent - len(GAP)), no_wrap=True)
        yield start.append(GAP + part, style="red")


def pad_left(text: str, width: int) -> str:
    """The text right-aligned by printed width."""
    return " " * (width - cell_len(text)) + text
