"""keep=none lets the weights of variants go once they are measured, and changes no row.

It makes them again where a step needs them.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from runs import planned, ran, words

from harness.cli import main
from harness.execution import Watch, execute
from harness.executors import local
from harness.spec import CHECKPOINT, Work
from harness.storage.store import Corrupt

SUITE = Path(__file__).with_name("one_task.yaml")  # a task, so that a run takes seconds
RUN = (f"suite={SUITE}", "methods=[middle]", "budgets=[0.8]", "measure.speed=false")


def weighing(store) -> set[str]:
    """Return the kinds of the stored steps that hold weights."""
    folders = {path.parents[1].name for path in store.root.glob(f"steps/*/{CHECKPOINT}/*.safetensors")}
    return {store.record(key)["title"] for key in folders}


def fixed(rows):
    return [
        {key: value for key, value in row.items() if not re.search("checkpoint|seconds|peak|process_bytes", key)}
        for row in rows
    ]


@pytest.fixture(scope="module")
def once(tmp_path_factory):
    """A run that let the weights go, made once; `lean` is a copy of its store."""
    place = tmp_path_factory.mktemp("lean")
    _, store, summary, rows = ran(place, *RUN, "keep=none")
    assert not summary.failed
    return store.root, summary, rows


@pytest.fixture
def lean(once, tmp_path):
    root, summary, rows = once
    shutil.copytree(root, tmp_path / "store")
    made, store = planned(tmp_path, *RUN, "keep=none")
    return made, store, summary, rows


def test_the_weights_of_measured_variants_go_and_the_dense_models_stay(lean):
    _, store, summary, _ = lean
    assert weighing(store) == {"import"}
    assert summary.freed > 0


def test_rows_are_those_of_a_run_that_keeps_everything(lean, tmp_path):
    _, store, summary, rows = ran(tmp_path / "other", *RUN)
    assert summary.freed == 0
    assert "middle at 0.8" in weighing(store)
    for ours, theirs in zip(fixed(lean[3]), fixed(rows), strict=True):
        assert {key: (ours[key], theirs.get(key)) for key in ours if ours[key] != theirs.get(key)} == {}
    assert {row["checkpoint"] for row in lean[3] if row["method"] != "dense"} == {None}


def test_a_second_run_does_nothing_and_finds_nothing_wrong(lean):
    made, store, first, _ = lean
    again = execute(made, store, Watch())
    assert (again.executed, again.failed) == ([], {})
    assert again.stored == len(first.executed)
    assert all(store.damage(key) is None for key in store.keys())
    assert main(["doctor", f"store={store.root}"]) == 0


def test_weights_that_a_new_measure_needs_are_made_again_as_they_were(lean, tmp_path, capsys):
    _, store, _, _ = lean
    made = next(key for key in store.keys() if store.record(key)["title"] == "middle at 0.8")
    before = store.record(made)["files"]
    more = [*RUN, "keep=weights", "limit=3"]
    assert main(["plan", *words(tmp_path, *more)]) == 0
    assert "its weights were let go, and are needed again" in capsys.readouterr().out
    _, store, summary, rows = ran(tmp_path, *more)
    assert not summary.failed
    assert made in summary.executed
    assert store.record(made)["files"] == before
    assert not store.released(made)
    assert not (store.root / "corrupt").exists()
    assert all(row["status"] == "ok" for row in rows)


def test_the_weights_of_a_variant_whose_measure_failed_stay(tmp_path, monkeypatch):
    made, store = planned(tmp_path, *RUN, "keep=none")
    lost = next(variant for variant in made.variants if variant.name == "middle@0.8+int8").measures["evaluate"].key
    run_steps = local.run_steps

    def failing(nodes, *rest):
        if nodes[0].key == lost:
            return local.Outcome(0.1, "killed")
        return run_steps(nodes, *rest)

    monkeypatch.setattr("harness.execution.run_steps", failing)
    summary = execute(made, store, Watch())
    assert list(summary.failed) == [lost]
    assert weighing(store) == {"import", "middle at 0.8", "quantize int8"}


def test_a_step_that_finds_weights_let_go_by_another_run_has_them_made_again(lean, tmp_path, monkeypatch):
    """Between the plan and the step another run may let go what it has measured."""
    made, store = planned(tmp_path, *RUN, "keep=weights", "limit=3")
    monkeypatch.setattr("harness.weights.again", lambda nodes, undone, store: set())
    summary = execute(made, store, Watch())
    assert not summary.failed
    assert any(store.record(key)["title"] == "middle at 0.8" for key in summary.executed)


def test_reading_weights_that_are_gone_is_told_as_such(lean, tmp_path):
    _, store, _, _ = lean
    key = next(key for key in store.keys() if store.released(key))
    work = Work(tmp_path, tmp_path, store, "k", (key,), (), "cpu")
    with pytest.raises(Corrupt, match="its weights were let go"):
        work.checkpoint()
