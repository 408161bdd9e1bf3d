"""The one specification of every table's columns: key, header, number format, better direction, importance."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

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


def ratio(key: str, header: str, priority: float) -> Column:
    """A column of throughput relative to dense."""
    text, detail = plain(key, formats.decimal), half(key, 1, 2)
    return Column(key, header, "×", "↑", text, detail, priority, priority / 10)


def size(key: str, header: str, priority: float, detail_priority: float) -> Column:
    """A column of a parameter count with its share of dense."""
    text = plain(key, formats.count)
    return Column(key, header, "of dense", "↓", text, of_dense(key), priority, detail_priority)


def task(name: str, metric: str) -> Column:
    """A column of one task's headline metric with its standard error."""
    lower = any(word in metric for word in ("perplexity", "bits_per_byte", "loss"))
    scale, form = (1.0, formats.decimal) if lower else (100.0, formats.percent)
    places = 2 if lower else 1

    def error(row: Row, dense: Row | None) -> str:
        value = number(row, f"{name}.stderr")
        return "" if value is None else f"±{scale * value:.{places}f}"

    key = f"{name}.{metric}"
    return Column(key, name, metric if lower else f"{metric} %", "↓" if lower else "↑", plain(key, form), error)


def difference_bounds(row: Row, dense: Row | None) -> str:
    """The interval of the paired difference to dense."""
    return formats.bounds(number(row, "difference_low"), number(row, "difference_high"))


SUMMARY = (
    size("parameters", "params", 5.0, 4.0),
    size("nonzero_parameters", "non-zero", 2.6, 2.4),
    Column("bytes_on_disk", "disk", "MB", "↓", plain("bytes_on_disk", formats.megabytes), priority=8),
    ratio("prefill_ratio", "prefill", 6.0),
    ratio("decode_ratio", "decode", 7.0),
    ratio("prefill_ratio_b8", "prefill b8", 1.0),
    ratio("decode_ratio_b8", "decode b8", 1.5),
    Column("peak_memory_bytes", "memory", "MB", "↓", plain("peak_memory_bytes", formats.megabytes), priority=4.5),
    Column("flops_per_token", "compute", "FLOP/token", "↓", plain("flops_per_token", formats.count), priority=0.8),
    Column("average", "average", "%", "↑", plain("average", formats.percent), half("average", 100, 1), 11, 10),
    Column("difference", "Δ dense", "points", "↑", plain("difference", formats.points), difference_bounds, 9.5, 9),
)

COST = (
    Column("seconds", "wall time", "", "↓", plain("seconds", formats.duration)),
    Column("cpu_seconds", "CPU time", "", "↓", plain("cpu_seconds", formats.duration)),
    Column("calibration_tokens", "calibration", "tokens", "↓", plain("calibration_tokens", formats.count)),
    Column("training_tokens", "training", "tokens", "↓", plain("training_tokens", formats.count)),
    Column("teacher_tokens", "teacher", "tokens", "↓", plain("teacher_tokens", formats.count)),
    Column("search_evaluations", "search", "evaluations", "↓", plain("search_evaluations", formats.count)),
    Column(
        "compression_peak_memory_bytes",
        "peak memory",
        "MB",
        "↓",
        plain("compression_peak_memory_bytes", formats.megabytes),
    ),
)


def filled(columns: Sequence[Column], rows: Sequence[Row]) -> list[Column]:
    """The columns for which at least one row has a number."""
    return [column for column in columns if any(number(row, column.key) is not None for row in rows)]


def task_columns(facts: Facts) -> list[Column]:
    """One column a task of the suite, in its order."""
    return [task(entry["name"], entry["metric"]) for entry in facts.get("tasks") or []]
