"""The same rows for a terminal, for Markdown, for a spreadsheet and for a program."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, RenderableType
from rich.text import Text

from reports.grid import Cell, Head, Line, fit, grid
from reports.pareto import front_mask
from reports.pipes import escaped, pipes
from reports.run import method_fronts
from reports.run.cautions import cautions
from reports.run.columns import Column, filled, summary_columns, task_columns
from reports.run.machine import csv_text, json_text
from reports.run.notes import TASK_NOTE, headline, marks, notes
from reports.search.summary import sentences
from reports.variants import Facts, Row, dense_row, failure, is_dense, name, number, ran

__all__ = ["csv_text", "json_text", "markdown", "rich_table"]


def rich_table(rows: Sequence[Row], facts: Facts) -> RenderableType:
    """Summary, per-task scores, footnotes and what was searched, for a console.

    They are fitted to the width of the console that prints them.
    """
    return FittedTables(rows, facts)


@dataclass(frozen=True)
class FittedTables:
    """A rich renderable; what does not fit is left out and named, failed rows keep their place."""

    rows: Sequence[Row]
    facts: Facts

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Text]:
        yield Text(headline(self.facts), style="bold")
        for words in cautions(self.rows):
            yield Text(words, style="yellow")
        yield Text()
        yield from self.summary(options.max_width)
        columns = filled(task_columns(self.facts), self.rows)
        if columns:
            yield Text()
            yield from self.tasks(columns, options.max_width)
        yield from self.fronts(options.max_width)
        told = sentences(self.facts)
        if told:
            yield Text()
        for words in told:
            yield Text(words, style="dim")

    def summary(self, width: int) -> Iterator[Text]:
        """The summary table, what was left out of it, and its footnotes."""
        columns = summary_columns(self.rows)
        heads = [Head(c.header, c.subtitle, c.priority, c.detail_priority) for c in columns]
        shown, lines, left_out = fit(heads, self.lines(columns, summary=True), width)
        chosen = [
            Line(line.name, line.marks, [line.cells[i] for i in shown] if line.cells else [], line.message, line.style)
            for line in lines
        ]
        yield from grid([heads[i] for i in shown], chosen, width)
        yield Text()
        if left_out:
            yield Text(f"left out at this width: {', '.join(left_out)}.", style="dim italic")
        for note in notes(self.rows, self.facts):
            yield Text(note, style="dim")

    def tasks(self, columns: Sequence[Column], width: int) -> Iterator[Text]:
        """Every task's score in as many blocks as the width asks for."""
        remaining = list(columns)
        while remaining:
            block = remaining[:1]
            for column in remaining[1:]:
                heads = [Head(c.header, c.subtitle) for c in [*block, column]]
                if fit(heads, self.lines([*block, column], summary=False), width)[2]:
                    break
                block.append(column)
            remaining = remaining[len(block) :]
            heads = [Head(column.header, column.subtitle) for column in block]
            yield from grid(heads, self.lines(block, summary=False), width)
            yield Text()
        yield Text(TASK_NOTE, style="dim")

    def fronts(self, width: int) -> Iterator[Text]:
        """Each method's hypervolume, where there are several methods."""
        lines = method_fronts.lines(self.facts)
        if lines:
            yield Text()
            heads = [Head(*pair) for pair in method_fronts.HEADERS[1:]]
            yield from grid(heads, [Line(name, "", [Cell(text) for text in cells]) for name, *cells in lines], width)
            yield Text()
            yield Text(method_fronts.NOTE, style="dim")

    def lines(self, columns: Sequence[Column], *, summary: bool) -> list[Line]:
        """One line a row: its cells, or why it has none."""
        dense = dense_row(self.rows)
        lines = []
        for row, on_front in zip(self.rows, front_mask(self.rows, "bytes_on_disk"), strict=True):
            style = "bold" if is_dense(row) else ""
            shown = marks(row, on_front) if summary else ""
            if not ran(row):
                words = failure(row) if summary else str(row.get("status"))
                lines.append(Line(name(row), shown, [], words, style))
                continue
            cells = [Cell(c.text(row, dense), c.detail(row, dense), colour(row, c)) for c in columns]
            lines.append(Line(name(row), shown, cells, "", style))
        return lines


def colour(row: Row, column: Column) -> str:
    """Green or red where the interval of the difference to dense excludes zero."""
    low, high = number(row, "difference_low"), number(row, "difference_high")
    if column.key != "difference" or low is None or high is None:
        return ""
    return "red" if high < 0 else "green" if low > 0 else ""


def markdown(rows: Sequence[Row], facts: Facts) -> str:
    """Summary and per-task tables with footnotes, and what was searched, as Markdown.

    They are for a README or a pull request.
    """
    dense, stars = dense_row(rows), front_mask(rows, "bytes_on_disk")
    remarks = [marks(row, star) if ran(row) else failure(row) for row, star in zip(rows, stars, strict=True)]
    parts = [escaped(words) for words in (headline(facts), *cautions(rows))]
    parts.append(pipe_table(rows, summary_columns(rows), dense, remarks))
    parts.append("\n".join(f"- {escaped(note)}" for note in notes(rows, facts)))
    columns = filled(task_columns(facts), rows)
    if columns:
        parts += [pipe_table(rows, columns, dense, None), escaped(TASK_NOTE)]
    lines = method_fronts.lines(facts)
    if lines:
        parts += [pipes([*map(" ".join, method_fronts.HEADERS)], lines), escaped(method_fronts.NOTE)]
    told = sentences(facts)
    if told:
        parts.append("\n".join(f"- {escaped(words)}" for words in told))
    return "\n\n".join(parts) + "\n"


def pipe_table(rows: Sequence[Row], columns: Sequence[Column], dense: Row | None, remarks: Sequence[str] | None) -> str:
    """One Markdown table; the remarks, if any, are its last column."""
    header = ["variant", *(column.title for column in columns)] + (["remarks"] if remarks else [])
    lines = []
    for index, row in enumerate(rows):
        cells = [f"{c.text(row, dense)} {c.detail(row, dense)}".strip() if ran(row) else "" for c in columns]
        lines.append([name(row), *cells, *(remarks[index : index + 1] if remarks else [])])
    return pipes(header, lines, text=(0, len(columns) + 1))
