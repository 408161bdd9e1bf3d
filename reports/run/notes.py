"""The sentences under a table that explain its marks and numbers."""

from collections.abc import Sequence

from reports.run import in_runtimes
from reports.variants import Facts, Row, one_line

STAR = "★"
BUSY = "†"
SIMULATED = "sim"
EMULATED = "emu"


def marks(row: Row, on_front: bool) -> str:
    """The row's marks, such as `★ †`."""
    flags = (
        (STAR, on_front),
        (SIMULATED, row.get("simulated")),
        (EMULATED, row.get("emulated")),
        (BUSY, row.get("contended")),
    )
    return " ".join(mark for mark, shown in flags if shown)


def items(facts: Facts) -> str:
    """How many items of each task were scored."""
    limit = facts.get("limit")
    return (
        "every item of each task" if limit is None else f"at most {limit} item{'s' if limit != 1 else ''} of each task"
    )


def headline(facts: Facts) -> str:
    """What was measured, in one line."""
    parts = (
        facts.get("model"),
        f"suite {facts['suite']}" if facts.get("suite") else None,
        items(facts),
        facts.get("dtype"),
        f"seed {facts['seed']}" if facts.get("seed") is not None else None,
    )
    return one_line(" · ".join(str(part) for part in parts if part))


def average_meaning(rows: Sequence[Row], facts: Facts) -> str:
    """What the average is a mean of."""
    said = list(dict.fromkeys(one_line(row["average_metric"]) for row in rows if row.get("average_metric")))
    tasks = ", ".join(f"{entry['name']} {entry['metric']}" for entry in facts.get("tasks") or [])
    return "; ".join(said) or tasks or "the suite's headline metrics"


def notes(rows: Sequence[Row], facts: Facts) -> list[str]:
    """The footnotes of the summary table; marks no row carries are not explained."""
    others = " (b8: batch 8)" if any(key.endswith("_ratio_b8") for row in rows for key in row) else ""
    same = " in the same runtime (of torch: to dense in torch)" if in_runtimes.compared(rows) else ""
    lines = [
        "↑ higher is better, ↓ lower is better; ± (half width) and [low, high] are 95 % intervals.",
        f"×: throughput relative to dense{same} at batch 1{others}. MB: 10⁶ bytes.",
        *in_runtimes.notes(rows),
    ]
    if any(row.get("average") is not None for row in rows):
        lines[1:1] = [
            f"average: {average_meaning(rows, facts)}; {items(facts)}.",
            "Δ dense: paired difference of the average to the dense model, in percentage points.",
        ]
        lines.append(
            f"{STAR} Pareto front of average against size on disk; simulated, emulated and failed variants are never on it."
        )
    if any(row.get("simulated") for row in rows):
        lines.append(f"{SIMULATED}: simulated, zeros are stored densely; its size, memory and speed are no savings.")
    if any(row.get("emulated") for row in rows):
        lines.append(
            f"{EMULATED}: emulated, quantized values are computed in floating point; its memory and speed are no savings."
        )
    if any(row.get("contended") for row in rows):
        lines.append(f"{BUSY} timed while the machine was busy; its ratios are less certain.")
    return lines + [one_line(line) for line in facts.get("warnings") or []]


TASK_NOTE = "score ± one standard error of the metric named in each header; acc and acc_norm are never mixed."
