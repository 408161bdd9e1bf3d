"""Energy is measured by the machine's counters, and refused where nothing counts it.

It stands wherever a quantity does.
"""

from __future__ import annotations

import time

import pytest

from harness import config, graph
from harness.config import ConfigErrors
from harness.machine import counters
from harness.machine.counters import Counter
from harness.measures import energy as measuring
from harness.measures.all_measures import on_axes, quantity
from harness.measures.energy import Energy
from harness.spec import Work
from reports.gate.checks import Limits, levels
from reports.gate.measured import Measured
from reports.page.html import page
from reports.run.columns import summary_columns
from reports.run.tables import markdown

WATTS = 40


@pytest.fixture
def powercap(tmp_path, monkeypatch):
    """RAPL's folder of a machine with one processor, whose counter begins anew soon."""
    for name, domain in (("intel-rapl:0", "package-0"), ("intel-rapl:0:0", "core"), ("intel-rapl:0:1", "dram")):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "name").write_text(f"{domain}\n")
        (folder / "max_energy_range_uj").write_text("999999\n")
        (folder / "energy_uj").write_text("900000\n")
    monkeypatch.setattr(counters, "POWERCAP", tmp_path)
    return tmp_path


def test_raps_counters_of_packages_and_memory_are_read_and_begin_anew(powercap):
    package, dram = counters.counters("cpu")
    assert (package.name, dram.name) == ("package-0", "dram")
    (powercap / "intel-rapl:0" / "energy_uj").write_text("100000\n")
    assert package.joules() == pytest.approx(0.2)
    (powercap / "intel-rapl:0" / "energy_uj").write_text("400000\n")
    assert (package.joules(), dram.joules()) == (pytest.approx(0.5), 0.0)


def test_a_counter_that_may_not_be_read_names_the_way_out(powercap, monkeypatch):
    (powercap / "intel-rapl:0" / "energy_uj").unlink()
    with pytest.raises(
        ValueError, match=r"energy_uj cannot be read \(No such file or directory\); RAPL is for root, or: sudo"
    ):
        counters.counters("cpu")


def test_what_nothing_counts_is_refused_by_the_plan(tmp_path, monkeypatch):
    monkeypatch.setattr(counters, "POWERCAP", tmp_path)
    monkeypatch.setattr("harness.machine.environment.accelerators", lambda: ())
    words = ["suite=demo", "model=random-llama", "measures=[footprint,energy,spead]"]
    with pytest.raises(ConfigErrors) as refused:
        graph.build(config.compose(words))
    first, second = refused.value.lines
    assert first.startswith("measures: energy: this machine shows no RAPL counter")
    assert first.endswith("or leave energy out")
    assert second == "measures: 'spead' is unknown; did you mean speed?"


def test_joules_a_token_are_what_the_counters_say(tiny_folder, tmp_path, monkeypatch):
    def counters(device):
        return [Counter("meter", lambda: int(time.perf_counter() * WATTS * 1e6), 2**60)]

    monkeypatch.setattr(measuring, "counters", counters)
    monkeypatch.setattr(measuring, "WINDOW", 0.05)
    monkeypatch.setattr(Work, "checkpoint", lambda self: tiny_folder)
    work = Work(tmp_path, tmp_path, None, "k", (), (), "cpu")
    Energy(fingerprint="here", rounds=3, prompt_tokens=16, generate_tokens=4).run(work)
    row = Energy.row(work.result)
    assert row["idle_watts"] == pytest.approx(WATTS, rel=0.01)
    for phase, tokens in (("prefill", 16), ("decode", 4)):
        seconds = [sample[0] for sample in work.result[f"{phase}_samples"]]
        assert row[f"{phase}_watts"] == pytest.approx(WATTS, rel=0.05)
        assert row[f"{phase}_joules"] == pytest.approx(WATTS * sorted(seconds)[1] / tokens, rel=0.05)
        assert row[f"{phase}_joules_low"] <= row[f"{phase}_joules"] <= row[f"{phase}_joules_high"]


ROWS = [
    {"variant": "dense", "method": "dense", "recipe": "dense", "quantizer": "none", "budget": None, "average": 0.6},
    {"variant": "nas@0.8", "method": "nas", "recipe": "nas", "quantizer": "none", "budget": 0.8, "average": 0.5},
]


def test_a_quantity_that_a_measure_declares_is_a_column_an_axis_and_a_check():
    rows = [row | {"status": "ok", "decode_joules": 2.5 - index} for index, row in enumerate(ROWS)]
    assert "decode energy J/token ↓" in [column.title for column in summary_columns(rows)]
    assert "| 1.5" in markdown(rows, {})
    assert 'data-axis="decode_joules"' in page(rows, {}) or "decode energy" in page(rows, {})
    assert quantity("decode_joules") in on_axes()
    before, now = (Measured("nas@0.8", levels={"decode_joules": value}, fingerprint="here") for value in (1.0, 1.2))
    [check] = levels(before, now, Limits())
    assert (check.what, check.verdict) == ("decode energy", "worse")
    assert [check.verdict for check in levels(now, before, Limits())] == ["ok"]
    elsewhere = Measured("nas@0.8", levels={"decode_joules": 1.2}, fingerprint="there")
    assert [check.verdict for check in levels(before, elsewhere, Limits())] == ["not judged"]
