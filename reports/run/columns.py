"""Every table's columns: what measures declare of a number, and how it is written."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from harness.measures.all_measures import in_column, known
from harness.quantities import Column as Place
from harness.quantities import Detail, Form, Quantity, recorded
from reports import formats
from reports.variants import Facts, Row, number

Text = Callable[[Row, Row | None], str]


def nothing(row: Row, dense: Row | None) -> str:
    """An empty detail."""
    return ""


@dataclass(frozen=True)
class Column:
    """A cell is `text` plus a smaller `detail`, both made from the row and the dense row.

    Narrow tables drop the lowest `priority` first, columns and details alike.
    """

    key: str
    header: str
    unit: str
    better: str  # "↑", "↓" or ""
    text: Text
    detail: Text = nothing
    priority: float = 0.0
    detail_priority: float = 0.0

    @property
    def subtitle(self) -> str:
        """Unit and direction, such as `MB ↓`."""
        return f"{self.unit} {self.better}".strip()

    @property
    def title(self) -> str:
        """Header, unit and direction on one line."""
        return f"{self.header} {self.subtitle}".strip()


def plain(key: str, form: Callable[[float | None], str]) -> Text:
    """The text of a number under `key`."""
    return lambda row, dense: form(number(row, key))


def of_dense(key: str) -> Text:
    """The percentage of the dense model's number under `key`."""
    return lambda row, dense: formats.share(number(row, key), number(dense, key) if dense else None)


def half(key: str, scale: float, places: int) -> Text:
    """The half width of the interval around `key`."""
    return lambda row, dense: formats.half_width(number(row, f"{key}_low"), number(row, f"{key}_high"), scale, places)


FORMS: dict[Form, Callable[[float | None], str]] = {
    "count": formats.count,
    "megabytes": formats.megabytes,
    "decimal": formats.decimal,
    "significant": formats.significant,
    "percent": formats.percent,
    "points": formats.points,
    "duration": formats.duration,
}


def column(shown: Quantity) -> Column:
    """The column of a measured quantity."""
    place = shown.column or Place()
    text, key = plain(shown.key, FORMS[shown.form]), shown.key
    details: dict[Detail, Text] = {
        "": nothing,
        "of dense": of_dense(key),
        "interval": half(key, shown.scale if shown.unit == "%" else 1, 1 if shown.unit == "%" else 2),
        "bounds": difference_bounds,
    }
    detail = details[place.detail]
    return Column(key, shown.label, shown.unit, shown.arrow, text, detail, place.priority, place.detail_priority)


def task(name: str, quantity: Quantity) -> Column:
    """A column of one task's headline metric with its standard error."""
    share = quantity.kind == "share"
    form = formats.percent if share else formats.decimal if quantity.lossy else formats.significant

    def error(row: Row, dense: Row | None) -> str:
        value = number(row, f"{name}.stderr")
        return "" if value is None else f"±{100 * value:.1f}" if share else f"±{value:.2g}"

    unit = f"{quantity.label}{f' ({quantity.through})' if quantity.through else ''}{' %' if share else ''}"
    key = f"{name}.{quantity.key}"
    return Column(key, name, unit, quantity.arrow, plain(key, form), error)


def difference_bounds(row: Row, dense: Row | None) -> str:
    """The interval of the paired difference to dense."""
    return formats.bounds(number(row, "difference_low"), number(row, "difference_high"))


SUMMARY = tuple(map(column, in_column("summary")))
COST = tuple(map(column, in_column("cost")))


def summary_columns(rows: Sequence[Row]) -> list[Column]:
    """The summary's columns for which a row has a number.

    With those of quantities that a run chose itself, such as batches.
    """
    usual = {shown.key for shown in (*SUMMARY, *COST)}
    others = {key: known(key) for key in sorted({key for row in rows for key in row if key not in usual})}
    return filled([*SUMMARY, *(column(each) for each in others.values() if each)], rows)


def filled(columns: Sequence[Column], rows: Sequence[Row]) -> list[Column]:
    """The columns for which at least one row has a number."""
    return [column for column in columns if any(number(row, column.key) is not None for row in rows)]


def task_columns(facts: Facts) -> list[Column]:
    """One column a task of the suite, in its order."""
    return [
        task(entry["name"], recorded(entry["metric"], entry if "kind" in entry else None))
        for entry in facts.get("tasks") or []
    ]
