"""The page's tables as HTML; every text that came from outside is escaped here."""

from collections.abc import Sequence
from html import escape

from reports.drawing import frame, head
from reports.pareto import front_mask
from reports.run.columns import COST, Column, filled, summary_columns, task_columns
from reports.run.notes import BUSY, STAR
from reports.variants import Facts, Row, dense_row, failure, is_dense, name, number, ran


def summary(rows: Sequence[Row]) -> str:
    """The sortable summary table with its marks; the most important columns stand next to the name."""
    columns = sorted(summary_columns(rows), key=lambda column: -column.priority)
    return table("summary", rows, columns, front_mask(rows, "bytes_on_disk"))


def tasks(rows: Sequence[Row], facts: Facts) -> str:
    """Each task's headline score; empty where no task was scored."""
    columns = filled(task_columns(facts), rows)
    return table("tasks", rows, columns, None) if columns else ""


def cost(rows: Sequence[Row]) -> str:
    """What making each variant took; empty where nothing was recorded."""
    columns = filled(COST, rows)
    return table("cost", rows, columns, None) if columns else ""


def table(identity: str, rows: Sequence[Row], columns: Sequence[Column], stars: Sequence[bool] | None) -> str:
    """One table in its own scrolling box; `stars` (one a row) also turns the other marks on."""
    heads = [head("variant", "", "text")]
    heads += [head(c.header, c.subtitle, {"↑": "high", "↓": "low"}.get(c.better, "low")) for c in columns]
    dense = dense_row(rows)
    body = []
    for index, row in enumerate(rows):
        badge = badges(row, stars[index]) if stars else ""
        label = escape(name(row)).replace("+", "<wbr>+")
        first = f'<th scope="row" data-value="{escape(name(row))}"><span>{label}</span>{badge}</th>'
        if ran(row):
            cells = "".join(cell(column, row, dense) for column in columns)
        else:
            words = failure(row) if stars else str(row.get("status"))
            cells = f'<td class="failure" colspan="{len(columns)}"><span>{escape(words)}</span></td>'
        opening = '<tr class="dense">' if is_dense(row) else "<tr>"
        body.append(f"{opening}{first}{cells}</tr>")
    return frame("".join(heads), "".join(body), identity, identity)


def cell(column: Column, row: Row, dense: Row | None) -> str:
    """A number with its detail; the unrounded number is what sorting compares."""
    value, detail = number(row, column.key), column.detail(row, dense)
    small = f"<small>{escape(detail)}</small>" if detail else ""
    verdict = significance(row) if column.key == "difference" else ""
    attributes = (f' data-value="{value!r}"' if value is not None else "") + (f' class="{verdict}"' if verdict else "")
    return f"<td{attributes}>{escape(column.text(row, dense))}{small}</td>"


def significance(row: Row) -> str:
    """`worse` or `improved` where the interval of the difference excludes zero."""
    low, high = number(row, "difference_low"), number(row, "difference_high")
    if low is None or high is None:
        return ""
    return "worse" if high < 0 else "improved" if low > 0 else ""


def badges(row: Row, star: bool) -> str:
    """Star, simulated, emulated and busy marks."""
    marks = []
    if star:
        marks.append(f'<b class="star" title="on the front of average against size">{STAR}</b>')
    if row.get("simulated"):
        marks.append('<i class="badge" title="zeros are stored densely: no real saving">simulated</i>')
    if row.get("emulated"):
        marks.append(
            '<i class="badge" title="quantized values are computed in floating point: no real saving">emulated</i>'
        )
    if row.get("contended"):
        marks.append(f'<b class="busy" title="timed while the machine was busy">{BUSY}</b>')
    return f'<span class="marks">{"".join(marks)}</span>' if marks else ""


def environment(facts: Facts) -> str:
    """Where and how the numbers were made, as a definition list."""
    record = {key: facts.get(key) for key in ("model", "suite", "profile", "dtype", "seed", "limit", "generated")}
    record |= facts.get("environment") or {}
    pairs = "".join(
        f"<div><dt>{escape(str(key))}</dt><dd>{escape(str(value))}</dd></div>"
        for key, value in record.items()
        if value is not None
    )
    return f"<dl>{pairs}</dl>"
