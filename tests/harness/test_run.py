"""The spine on the tiny model: nothing twice, kills, failures, corruption, keys, reports."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest
from own_kinds import Fatal
from runs import planned, ran, words

from harness import config, registry
from harness.models.source import ModelSource
from harness.spec import Node
from harness.storage.store import Store
from reports.run import rows as reading

METHODS = "nas,'nas(budget=0.9)',middle,uniform,llm_pruner,shortgpt,wanda,magnitude"
EVERYTHING = (f"methods=[{METHODS}]", "budgets=[0.75]")


@pytest.fixture(scope="module")
def everything(tmp_path_factory):
    """All methods and quantizers once, the search at two budgets; further tests read the same store."""
    folder = tmp_path_factory.mktemp("everything")
    return folder, *ran(folder, *EVERYTHING)


def test_every_variant_is_a_complete_row(everything):
    _, made, _, summary, rows = everything
    assert {row["method"] for row in rows} == set(config.compose(["suite=demo"]).methods)
    assert not summary.failed
    assert not summary.skipped
    assert [row["status"] for row in rows] == ["ok"] * len(made.variants)
    for row in rows:
        for name in (
            "parameters",
            "nonzero_parameters",
            "bytes_on_disk",
            "prefill_ratio",
            "decode_ratio",
            "peak_memory_bytes",
            "average",
            "demo_piqa.acc",
            "demo_piqa.stderr",
        ):
            assert row[name] is not None, (row["variant"], name)


def test_structured_rows_meet_their_budget_and_sparse_ones_are_labelled(everything):
    *_, rows = everything
    dense = rows[0]["parameters"]
    for row in rows:
        if row["budget"] and registry.methods()[row["method"]].STRUCTURED:
            assert abs(row["parameters"] - row["budget"] * dense) <= 0.005 * dense
        assert row["simulated"] == (row["method"] in ("wanda", "magnitude"))


def test_the_super_network_is_trained_and_searched_once_for_all_budgets(everything):
    _, made, *_ = everything
    kinds = [node.step.KIND for node in made.steps()]
    assert kinds.count("supernet") == kinds.count("search") == 1
    assert kinds.count("pick") == 2


def test_the_divergence_is_from_the_dense_model_and_not_from_the_trained_super_network(everything):
    _, made, store, _, _ = everything
    (search,) = [step.key for step in made.steps() if step.step.KIND == "search"]
    candidates = json.loads((store.folder(search) / "records.json").read_text())["candidates"]
    (whole,) = [each for each in candidates if each["size"] == 1]
    assert 0 < whole["kl"] < min(each["kl"] for each in candidates if each["size"] < 0.8)


def test_second_run_does_nothing(everything):
    folder, made, *_ = everything
    _, _, summary, _ = ran(folder, *EVERYTHING)
    assert summary.executed == []
    assert summary.stored == len(made.steps())


def test_a_subset_needs_no_new_step(everything):
    folder, *_ = everything
    _, _, summary, rows = ran(folder, "budgets=[0.75]", "methods=[wanda]", "quantizers=[int8]")
    assert summary.executed == []
    assert [row["variant"] for row in rows] == ["dense+int8", "wanda@0.75+int8"]


def test_metrics_are_recomputed_from_the_stored_items(everything):
    _, _, store, _, _ = everything
    run = store.runs()[-1]
    for name, tasks in reading.recomputed(run, store).items():
        variant = next(each for each in run["variants"] if each["name"] == name)
        assert tasks == store.result(variant["measures"]["evaluate"])["tasks"]


def test_report_formats_are_written_without_running_anything(everything, capsys):
    from harness.cli import main

    folder, *_ = everything
    for kind, file in (
        ("json", "report.json"),
        ("csv", "report.csv"),
        ("html", "report.html"),
        ("markdown", "report.md"),
        ("plot", "pareto.png"),
    ):
        assert main(["report", f"store={folder / 'store'}", f"report={folder / 'out'}", f"format={kind}"]) == 0
        assert file in capsys.readouterr().out
    listed = json.loads((folder / "out" / "report.json").read_text())
    actual = listed["rows"] if isinstance(listed, dict) else listed
    header = next(csv.reader((folder / "out" / "report.csv").open()))
    wanted = [
        "variant",
        "checkpoint",
        "method",
        "budget",
        "quantizer",
        "parameters",
        "nonzero_parameters",
        "bytes_on_disk",
        "prefill_ratio",
        "decode_ratio",
        "peak_memory_bytes",
    ]
    assert header[: len(wanted)] == wanted
    assert {*wanted, "demo_boolq.acc", "demo_boolq.acc_norm", "demo_boolq.stderr", "simulated", "status"} <= set(
        actual[0]
    )


@pytest.mark.browser
def test_the_page_of_a_real_run_shows_every_variant_and_both_plots_in_a_browser(browser, tmp_path):
    from reports.written.folder import write

    made, store, *_ = ran(tmp_path, "methods=[nas,wanda]", "budgets=[0.75]")
    (page,) = write(*reading.read(store.runs()[0], store), tmp_path, ["html"])["html"]
    browser.get(page.as_uri())
    drawn = "return [...document.querySelectorAll('.chart')].every(c => c.querySelector('.main-svg'))"
    deadline = time.monotonic() + 20
    while not browser.execute_script(drawn) and time.monotonic() < deadline:
        time.sleep(0.1)
    names = "return [...document.querySelectorAll('#summary tbody th span:first-child')].map(cell => cell.textContent)"
    assert browser.execute_script(names) == [variant.name for variant in made.variants]
    assert browser.execute_script("return document.querySelectorAll('.chart .main-svg').length") >= 4
    assert [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []


def test_a_failing_step_becomes_a_row_with_its_reason_and_the_rest_goes_on(tmp_path):
    _, store, summary, rows = ran(tmp_path, "methods=['llm_pruner(budget=0.06)',magnitude]", "measure.speed=false")
    status = {row["variant"]: (row["status"], row["reason"]) for row in rows}
    assert status["magnitude@0.8"][0] == "ok"
    failed = [value for name, value in status.items() if name.startswith("llm_pruner")]
    assert all(state in ("failed", "skipped") and "cannot meet budget=0.06" in reason for state, reason in failed)
    assert len(summary.failed) == 1
    key = next(iter(summary.failed))
    assert "Traceback" in store.log(key).read_text()


def test_the_exit_code_and_last_lines_tell_of_a_failure(tmp_path, capsys):
    from harness.cli import main

    code = main(
        ["run", *words(tmp_path, "methods=['llm_pruner(budget=0.06)']", "quantizers=[none]", "measure.speed=false")]
    )
    assert code == 1
    assert "cannot meet budget=0.06" in "".join(capsys.readouterr().out.split("\n")[-8:])


def test_a_damaged_checkpoint_is_detected_and_redone(tmp_path):
    made, store, *_ = ran(tmp_path, "methods=[magnitude]", "quantizers=[none]", "measure.speed=false")
    pruned = made.variants[1].checkpoint.key
    weights = store.folder(pruned) / "checkpoint" / "model.safetensors"
    good = weights.read_bytes()
    weights.write_bytes(good[:-1])
    _, _, summary, rows = ran(tmp_path, "methods=[magnitude]", "quantizers=[none]", "measure.speed=false")
    assert summary.executed == [pruned]
    assert weights.read_bytes() == good
    assert list((store.root / "corrupt").iterdir()), "the damaged one is kept for inspection"
    assert all(row["status"] == "ok" for row in rows)


def test_flipped_bytes_of_the_same_length_are_found_before_they_are_used(tmp_path):
    made, store, *_ = ran(tmp_path, "methods=[dense]", "quantizers=[none]", "measure.speed=false")
    weights = store.folder(made.variants[0].checkpoint.key) / "checkpoint" / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-5] ^= 0xFF
    weights.write_bytes(bytes(content))
    made, _, summary, rows = ran(tmp_path, "methods=[dense,magnitude]", "quantizers=[none]", "measure.speed=false")
    assert not summary.failed
    assert made.variants[0].checkpoint.key in summary.executed, "the damaged step is made again before what needs it"
    assert all(row["status"] == "ok" for row in rows)


@pytest.mark.slow
def test_killed_at_any_moment_the_next_run_redoes_only_the_unfinished_step(tmp_path):
    command = [sys.executable, "-m", "harness", "run", *words(tmp_path, "methods=[nas,wanda]", "measure.speed=false")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    store = Store(tmp_path / "store")
    seen: set[str] = set()
    for wanted in (1, 3, 6):  # kill once this many steps are stored
        process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 240
        while len(store.keys()) < wanted and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        process.wait()
        time.sleep(1)  # the step's own process notices that its parent is gone
        stored = {key: store.record(key)["finished"] for key in store.keys()}
        assert len(stored) >= wanted
        assert seen <= set(stored)
        assert all(store.damage(key) is None for key in stored)
        seen = set(stored)
    made, _, summary, rows = ran(tmp_path, "methods=[nas,wanda]", "measure.speed=false")
    assert {key: store.record(key)["finished"] for key in seen} == stored, "finished steps are not redone"
    assert len(summary.executed) == len(made.steps()) - len(seen)
    assert all(row["status"] == "ok" for row in rows)


def test_a_step_killed_by_the_system_is_a_row_that_says_so(tmp_path, monkeypatch):
    known = registry.methods()
    monkeypatch.setattr(registry, "methods", lambda: {**known, "fatal": Fatal})
    *_, rows = ran(tmp_path, "methods=[fatal]", "quantizers=[none]", "measure.speed=false")
    assert rows[0]["status"] == "ok"
    assert rows[1]["status"] == "failed"
    assert rows[1]["reason"].startswith("killed by SIGKILL")


def test_equal_weights_have_equal_keys_wherever_they_lie(tmp_path, tiny_folder):
    import shutil

    shutil.copytree(tiny_folder, tmp_path / "elsewhere")
    made = [
        planned(tmp_path, f"model={folder}", "methods=[wanda]")[0].variants[-1].checkpoint.key
        for folder in (tiny_folder, tmp_path / "elsewhere")
    ]
    assert made[0] == made[1]


def test_other_weights_under_the_same_name_have_other_keys(tmp_path, tiny_folder):
    from harness.models import checkpoint

    before = planned(tmp_path, f"model={tiny_folder}", "methods=[wanda]")[0].variants[-1].checkpoint.key
    model = checkpoint.load(tiny_folder)
    model.get_decoder().layers[0].mlp.up_proj.weight.data[0, 0] += 1
    checkpoint.save(model, tiny_folder, tiny_folder)
    assert planned(tmp_path, f"model={tiny_folder}", "methods=[wanda]")[0].variants[-1].checkpoint.key != before


def test_every_field_and_the_version_enter_the_key(monkeypatch):
    from baselines.wanda import Wanda
    from harness.compress import Compress

    base = Node(Compress(method=Wanda(sparsity=0.5)))
    assert base.key == Node(Compress(method=Wanda(sparsity=0.5))).key
    others = [
        Compress(method=Wanda(sparsity=0.4)),
        Compress(method=Wanda(pattern="2:4")),
        Compress(method=Wanda(sparsity=0.5), seed=1),
    ]
    assert len({base.key, *(Node(step).key for step in others)}) == 4
    assert Node(base.step, parent=Node(others[0])).key != base.key
    before = base.key
    monkeypatch.setattr(Wanda, "VERSION", 2)
    assert Node(base.step).key != before


def test_the_place_of_a_model_does_not_enter_its_key():
    assert (
        ModelSource(kind="folder", content="a", place="x").fingerprint_fields()
        == ModelSource(kind="folder", content="a", place="y").fingerprint_fields()
    )


def test_speeds_of_another_machine_are_measured_anew(tmp_path, monkeypatch):
    from harness.machine import environment

    here = planned(tmp_path)[0].variants[0].measures["speed"].key
    monkeypatch.setattr(environment, "fingerprint", lambda: "another")
    made = planned(tmp_path)[0].variants[0].measures
    assert made["speed"].key != here


def test_recipes_that_begin_alike_share_steps(tmp_path):
    made, _ = planned(tmp_path, "methods=[shortgpt,'shortgpt+wanda(sparsity=0.5)']", "quantizers=[none]")
    alone, sequence = (
        next(variant for variant in made.variants if variant.recipe == recipe)
        for recipe in ("shortgpt", "shortgpt+wanda(sparsity=0.5)")
    )
    assert sequence.checkpoint.parent is not None
    assert sequence.checkpoint.parent.key == alone.checkpoint.key
    assert sequence.simulated


def test_what_was_measured_is_reported_after_the_weights_are_gone(tmp_path):
    made, store, _, before = ran(tmp_path, "methods=[shortgpt]", "budgets=[0.8]", "quantizers=[none]")
    for weights in store.root.glob("steps/*/checkpoint/*.safetensors"):
        weights.unlink()
    again = reading.read(store.runs()[-1], store)[0]
    assert again == before
    shutil.rmtree(store.folder(made.variants[1].chain()[1].key))  # the whole step: only its cost is unknown
    dense, pruned = reading.read(store.runs()[-1], store)[0]
    assert dense == before[0]
    assert pruned["status"] == "ok"
    assert pruned["average"] == before[1]["average"]
    assert "seconds" not in pruned


def test_plan_shows_steps_and_runs_nothing(tmp_path, capsys):
    from harness.cli import main

    assert main(["plan", *words(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "super-network" in out
    assert "of work left" in out
    assert Store(tmp_path / "store").keys() == []
