"""Runs of other dense models, precisions or ways of asking are named as unlike.

A gate fails on them.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from stored_answers import DENSE, METRICS, Stored

from harness.execution import record
from reports.compare.pairs import compare
from reports.compare.sentences import notes
from reports.compare.sides import Side
from reports.gate.gate_text import differing, ending, rows, sentences
from reports.gate.judge import REGRESSED, alike, outcome
from reports.likeness import unlike

CONFIG = {"model": "m", "suite": "demo", "limit": 2, "seed": 0, "scorer": "tree"}
ORIGIN = {"kind": "folder", "content": "a" * 64}


def run(*, chain: str = "k1", **more: object) -> dict:
    config = CONFIG | {name: more.pop(name) for name in CONFIG if name in more}
    actual = {"id": "r", "config": config, "dtype": "float32", "metrics": METRICS, "origin": ORIGIN, "environment": {}}
    return actual | {"variants": [{"name": "dense", "chain": [chain]}]} | more


def test_runs_of_one_model_asked_alike_are_alike():
    assert unlike(run(), run()) == {}
    assert unlike(run(), run(chain="k2", seed=1)) == {}  # another seed, the same weights
    assert differing(run(), run(chain="k2", seed=1)) == ["seed: 0 in the baseline, 1 now"]
    assert unlike(run(), run(chain="k2", model="elsewhere/m")) == {}  # the same weights in another place


@pytest.mark.parametrize(
    ("more", "what", "told"),
    [
        (
            {"origin": ORIGIN | {"content": "b" * 64}},
            "dense model",
            "m (folder aaaaaaaaaaaa) and m (folder bbbbbbbbbbbb)",
        ),
        ({"dtype": "bfloat16"}, "dtype", "float32 and bfloat16"),
        ({"limit": 4}, "limit", "2 and 4"),
        ({"scorer": "hflm"}, "scorer", "tree and hflm"),
        ({"metrics": METRICS | {"piqa": "acc_norm"}}, "metric of piqa", "acc and acc_norm"),
        ({"metrics": {"boolq": "acc"}, "suite": "mine"}, "suite", "demo and mine"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_makes_numbers_unlike_is_named_and_fails(more, what, told):
    other = run(chain="k2", **more)
    assert unlike(run(), other) == {what: told}
    checks = alike(run(), other)
    assert outcome(checks, anew=True) == outcome(checks, anew=False) == REGRESSED
    assert sentences(checks) == [f"unlike: {what} of baseline and run: {told}"]
    assert ending(checks, REGRESSED).startswith("1 of 1 checks failed")
    assert rows(checks) == []
    assert not any(line.startswith(f"{what}:") for line in differing(run(), other))


def test_a_random_models_seed_is_its_weights():
    first, second = ({**ORIGIN, "kind": "random", "seed": seed} for seed in (0, 1))
    assert "seed 0) and m (random" in unlike(run(origin=first), run(origin=second, chain="k2", seed=1))["dense model"]


def test_an_earlier_run_that_did_not_record_its_weights_is_the_same_only_where_the_import_is():
    assert unlike(run(origin={}), run()) == {}
    assert unlike(run(origin={}), run(chain="k2"))["dense model"].startswith("perhaps not the same")


def test_a_comparison_across_runs_of_other_models_says_so():
    items = {task: [row for row in DENSE if row["task"] == task] for task in METRICS}
    one, other = run(), run(chain="k2", origin=ORIGIN | {"content": "b" * 64})
    pair = [Side(name, Path(name), items, METRICS, name, {}, kept) for name, kept in (("a", one), ("b", other))]
    [line] = [note for note in notes(compare(pair)) if note.startswith("unlike")]
    assert line == "unlike: dense model of a and b: m (folder aaaaaaaaaaaa) and m (folder bbbbbbbbbbbb)."
    same = [pair[0], Side("b", Path("b"), items, METRICS, "b", {}, run(chain="k2"))]
    assert not any(note.startswith("unlike") for note in notes(compare(same)))


def test_a_runs_record_says_what_its_weights_are(tmp_path):
    from runs import planned

    from harness.execution import Summary

    made, store = planned(tmp_path, "methods=[dense]", "quantizers=[none]", "measure.speed=false")
    kept = record(made, store, 0.0, "harness run", Summary())
    assert kept["origin"] == {"kind": "random", "content": "tiny-llama-1", "seed": 0}
    assert kept["quantities"]["demo_boolq"]["acc"] == {"better": "higher", "kind": "share", "through": ""}


def test_sides_of_one_store_carry_their_run(tmp_path):
    from reports.compare.sides import sides

    stored = Stored(tmp_path / "store")
    stored.run("r", {"dense": DENSE, "nas": DENSE})
    assert [side.record["id"] for side in sides(["dense", "nas"], stored.store)] == ["r", "r"]
