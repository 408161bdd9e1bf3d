"""Rows keep their types in a table: numbers, truths and text; what was not measured is null."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq

from harness.cli import main
from reports.run.arrow import table
from reports.run.machine import keys
from reports.written.folder import write

ROWS = [
    {"variant": "dense", "method": "dense", "parameters": 10, "average": 0.5, "simulated": False, "status": "ok"},
    {
        "variant": "b",
        "method": "wanda",
        "parameters": None,
        "average": float("nan"),
        "simulated": True,
        "status": "failed",
    },
]
FACTS = {"model": "toy", "tasks": []}


def test_a_column_has_the_type_of_its_values_and_null_for_none():
    made = table(ROWS)
    assert made.column_names == keys(ROWS)
    assert [made.schema.field(name).type for name in ("variant", "parameters", "average", "simulated")] == [
        *(pa.string(), pa.int64(), pa.float64(), pa.bool_())
    ]
    assert made["parameters"].to_pylist() == [10, None]
    assert made["average"].to_pylist() == [0.5, None]


def test_values_without_a_common_type_are_text():
    mixed = [{"variant": "a", "budget": 0.5}, {"variant": "b", "budget": "half"}, {"variant": "c", "budget": None}]
    assert table(mixed)["budget"].to_pylist() == ["0.5", "half", None]


def test_the_file_holds_the_table(tmp_path):
    [path] = write(ROWS, FACTS, tmp_path / "report", ["parquet"])["parquet"]
    assert pq.read_table(path).equals(table(ROWS))


def test_it_is_a_format_of_the_report(capsys):
    assert main(["report", "format=parket"]) == 2
    assert "format parket is unknown; did you mean parquet" in capsys.readouterr().err
