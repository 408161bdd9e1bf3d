"""A model card: what the model is, how it was made, what was measured, and how to run it."""

from collections.abc import Sequence

from reports import formats
from reports.pipes import escaped, pipes
from reports.run.columns import summary_columns, task_columns
from reports.variants import Facts, Row, dense_row, one_line

FILE = "README.md"


def card(row: Row, rows: Sequence[Row], facts: Facts, *, steps: Sequence[str], stored: str, use: str) -> str:
    """The card of `row`, one of a run's rows, in Markdown.

    `steps` made it, `stored` says how its layers are stored.
    """
    dense = dense_row(rows)
    name, model = one_line(row["variant"]), _code(facts.get("model") or "")
    parts = [
        f"# {escaped(name)}",
        f"Made from {model} by llm-compression-harness; its licence is that of {model}.",
        "## How to run it",
        use,
        f"Stored as: {stored}.",
        "## How it was made",
        "\n".join(f"{number}. {escaped(one_line(step))}" for number, step in enumerate(steps, 1)),
        f"The run: {_code(facts.get('command') or 'not recorded')}.",
        "## What was measured",
        pipes(
            ["", *(["dense"] if dense is not None and dense is not row else []), name], _lines(row, dense, rows, facts)
        ),
        _where(row, facts),
    ]
    return "\n\n".join(parts) + "\n"


def _code(text: str) -> str:
    """The text as Markdown code, on one line."""
    return "`" + one_line(text).replace("`", "'") + "`"


def _lines(row: Row, dense: Row | None, rows: Sequence[Row], facts: Facts) -> list[list[str]]:
    sides = [each for each in (dense, row) if each is not None]
    sides = sides[1:] if len(sides) == 2 and dense is row else sides
    lines = []
    for column in [*summary_columns(rows), *task_columns(facts)]:
        cells = [f"{column.text(each, dense)} {column.detail(each, dense)}".strip() for each in sides]
        if cells[-1] != formats.MISSING:
            lines.append([column.title, *cells])
    return lines


def _where(row: Row, facts: Facts) -> str:
    environment = facts.get("environment") or {}
    limit = facts.get("limit")
    return (
        f"Intervals are 95 %, ± is their half width; scores are of suite {_code(facts.get('suite') or '')}, "
        f"{'all items' if limit is None else f'the first {limit} items of each task'}. Speed is relative to dense in the same "
        f"runtime ({one_line(row.get('runtime') or 'torch')}), on {escaped(one_line(environment.get('cpu') or 'an unknown processor'))}, "
        f"{environment.get('threads', '?')} threads."
    )
