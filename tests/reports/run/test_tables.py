"""The same rows in every table format: nothing lost, nothing mixed, nothing wider than asked."""

import csv
import io
import json

import numpy as np
import pytest
from rich.cells import cell_len
from rich.console import Console

from reports.page.plots import save
from reports.run.tables import csv_text, json_text, markdown, rich_table

FACTS = {
    "model": "toy",
    "suite": "tiny",
    "limit": 40,
    "seed": 0,
    "tasks": [
        {"name": "piqa", "metric": "acc"},
        {"name": "arc", "metric": "acc_norm"},
        {"name": "wikitext", "metric": "word_perplexity"},
    ],
}


def variant(name, method, budget, quantizer, size, average, **more):
    return {
        "variant": name,
        "checkpoint": f"/store/{name}",
        "method": method,
        "budget": budget,
        "quantizer": quantizer,
        "parameters": size,
        "nonzero_parameters": size,
        "bytes_on_disk": 2 * size,
        "peak_memory_bytes": 4 * size,
        "prefill_ratio": 1.1,
        "decode_ratio": 1e9 / size,
        "decode_ratio_low": 0.9e9 / size,
        "decode_ratio_high": 1.1e9 / size,
        "average": average,
        "average_low": average - 0.02,
        "average_high": average + 0.02,
        "average_metric": "mean of piqa acc and arc acc_norm",
        "difference": average - 0.6,
        "difference_low": average - 0.62,
        "difference_high": average - 0.58,
        "arc.acc": 0.111,
        "arc.acc_norm": 0.222,
        "arc.stderr": 0.0123,
        "piqa.acc": 0.333,
        "piqa.acc_norm": 0.444,
        "piqa.stderr": 0.01,
        "wikitext.word_perplexity": 17.25,
        "seconds": 61.0,
        "simulated": False,
        "emulated": False,
        "contended": False,
        "status": "ok",
    } | more


def fabricated():
    return [
        variant("dense", "dense", None, "none", 1_000_000_000, 0.6),
        variant("nas@0.5+int8", "nas", 0.5, "int8", 500_000_000, 0.5, contended=True),
        variant("wanda@0.5", "wanda", 0.5, "none", 1_000_000_000, 0.59, simulated=True),
        {"variant": "broken@0.2", "method": "broken", "status": "failed", "reason": "out of\nmemory [bold]at layer 3"},
        variant("width@0.5", "width", 0.5, "none", 500_000_000, float("nan")),
    ]


def printed(width, rows=None):
    console = Console(width=width, file=io.StringIO(), color_system=None)
    console.print(rich_table(fabricated() if rows is None else rows, FACTS))
    return console.file.getvalue()


def line_of(text, name):
    return next(line for line in text.splitlines() if line.startswith(name))


@pytest.mark.parametrize("width", [60, 80, 120, 200])
def test_no_line_is_wider_than_the_terminal(width):
    assert max(cell_len(line) for line in printed(width).splitlines()) <= width


def test_what_a_narrow_terminal_leaves_out_is_named():
    assert "left out" not in printed(200)
    assert "left out at this width" in printed(60)
    header, left_out = printed(60).splitlines()[2], printed(60).split("left out")[1].split(".")[0]
    assert "average" in header
    assert "disk" in header
    assert "memory" not in header
    assert "memory" in left_out


def test_average_is_printed_with_half_its_interval_and_difference_with_its_bounds():
    line = line_of(printed(120), "nas@0.5+int8")
    assert "50.0 ±2.0" in line
    assert "−10.0 [−12.0, −8.0]" in line
    assert "500.0M  50%" in line
    assert "1,000" in line


def test_marks_stand_where_they_are_due_and_are_explained():
    text = printed(120)
    assert "★" in line_of(text, "dense")
    assert "★ †" in line_of(text, "nas@0.5+int8")
    assert "sim" in line_of(text, "wanda")
    assert "★" not in line_of(text, "wanda")
    for words in ("★ Pareto front", "sim: simulated", "† timed while", "95 %", "↑ higher is better"):
        assert words in text
    assert "at most 40 items" in text
    assert "mean of piqa acc and arc acc_norm" in text


def test_marks_nobody_carries_are_not_explained():
    assert "sim:" not in printed(120, fabricated()[:1])
    assert "†" not in printed(120, fabricated()[:1])


def test_a_failed_row_keeps_its_place_and_says_why():
    names = [line.split()[0] for line in printed(120).splitlines() if "@" in line or line.startswith("dense")]
    assert names[:5] == [row["variant"] for row in fabricated()]
    assert "failed: out of memory [bold]at layer 3" in line_of(printed(120), "broken@0.2")


def test_each_task_shows_only_its_headline_metric():
    task_part = printed(120).split("busy; its ratios are less certain.")[1]
    assert task_part.index("piqa") < task_part.index("arc") < task_part.index("wikitext")
    assert line_of(task_part, "dense").split() == ["dense", "33.3", "±1.0", "22.2", "±1.2", "17.25"]
    assert "acc % ↑" in task_part
    assert "acc_norm % ↑" in task_part
    assert "word_perplexity ↓" in task_part


def test_many_tasks_are_stacked_instead_of_dropped():
    tasks = [{"name": f"task{i}", "metric": "acc"} for i in range(12)]
    rows = [{"variant": "dense", "method": "dense"} | {f"task{i}.acc": i / 20 for i in range(12)}]
    console = Console(width=60, file=io.StringIO(), color_system=None)
    console.print(rich_table(rows, {"tasks": tasks}))
    assert all(f"task{i}" in console.file.getvalue() for i in range(12))


def test_markdown_has_one_row_a_variant_and_literal_text():
    rows = [*fabricated(), {"variant": "a|b<script>", "status": "failed", "reason": "x|y"}]
    table = markdown(rows, FACTS).split("\n\n")[1].splitlines()
    assert len(table) == len(rows) + 2
    assert len({line.replace("\\|", "").count("|") for line in table}) == 1
    assert "a\\|b&lt;script>" in table[-1]
    assert "x\\|y" in table[-1]


def test_csv_has_every_row_and_every_key_in_the_promised_order():
    header, *lines = list(csv.reader(io.StringIO(csv_text(fabricated()))))
    assert header[:4] == ["variant", "checkpoint", "method", "budget"]
    at = header.index("peak_memory_bytes") + 1
    scores = [f"{task}.{score}" for task in ("arc", "piqa") for score in ("acc", "acc_norm", "stderr")]
    assert header[at : at + 10] == [*scores, "wikitext.word_perplexity", "simulated", "emulated", "status"]
    assert header[at + 10 :] == sorted(header[at + 10 :])
    assert set(header) == {key for row in fabricated() for key in row}
    assert len(lines) == 5
    assert lines[4][header.index("average")] == ""
    assert lines[2][header.index("simulated")] == "true"


@pytest.mark.parametrize("text", ["=1+1", "+1", "-x", "@sum(a)", "\t=1", "\r=1", '=HYPERLINK("http://x")'])
def test_csv_text_is_never_a_spreadsheets_formula(text):
    rows = [{"variant": text, "=key": text, "difference": -0.03, "budget": -1}]
    header, line = csv.reader(io.StringIO(csv_text(rows), newline=""))
    assert "'=key" in header
    assert line[header.index("variant")] == f"'{text}".replace("\r", "\n")
    assert (line[header.index("difference")], line[header.index("budget")]) == ("-0.03", "-1")


def test_csv_numbers_are_not_rounded():
    rows = [{"variant": "dense", "average": 0.1 + 0.2, "parameters": 494032768}]
    read = next(csv.DictReader(io.StringIO(csv_text(rows))))
    assert float(read["average"]) == 0.1 + 0.2
    assert read["parameters"] == "494032768"


def test_json_is_strict_and_has_tasks_in_suite_order():
    rows = fabricated()
    rows[0]["average"] = np.float64(0.6)
    rows[1]["decode_ratio"] = float("inf")

    def refuse(constant):
        raise AssertionError(constant)

    read = json.loads(json_text(rows, FACTS), parse_constant=refuse)
    assert read["facts"]["model"] == "toy"
    assert len(read["rows"]) == 5
    assert read["rows"][4]["average"] is None
    assert read["rows"][1]["decode_ratio"] is None
    assert read["rows"][0]["average"] == 0.6
    names = list(read["rows"][0])
    assert names.index("piqa.acc") < names.index("arc.acc") < names.index("wikitext.word_perplexity")
    assert all(list(row) == names for row in read["rows"])


EMPTY = [[], [{"variant": "dense", "status": "failed", "reason": "no"}], [{"variant": "dense"}]]


@pytest.mark.parametrize("rows", EMPTY)
def test_nothing_measured_is_still_a_table(rows, tmp_path):
    assert printed(80, rows)
    assert markdown(rows, {})
    assert csv_text(rows)
    assert json_text(rows, {})
    assert all(path.stat().st_size for path in save(rows, {}, tmp_path))


def test_plots_are_the_same_bytes_twice(tmp_path):
    first, second = save(fabricated(), FACTS, tmp_path / "a"), save(fabricated(), FACTS, tmp_path / "b")
    assert [path.name for path in first] == ["pareto.png", "pareto.svg"]
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]
    assert b"<dc:date>" not in first[1].read_bytes()


def test_batches_that_nobody_timed_are_not_explained():
    row = variant("dense", "dense", None, "none", 10**9, 0.6)
    assert "(b8: batch 8)" not in markdown([row], FACTS)
    assert "(b8: batch 8)" in markdown([row | {"decode_ratio_b8": 1.0}], FACTS)
