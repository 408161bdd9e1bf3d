"""`harness gate`: what is worse than the baseline or missing fails.

Noise and improvements do not fail.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from runs import planned, ran
from stored_answers import BETTER, DENSE, METRICS, Row, answered

from harness.cli import main
from harness.storage.store import Store
from reports.compare.sides import Side
from reports.gate import baseline as gate_baseline
from reports.gate.checks import Check, Limits
from reports.gate.judge import NOTHING, PASSED, REGRESSED, judge, measured_anew, outcome
from reports.gate.measured import Measured

SIZES = {"parameters": 1000.0, "nonzero_parameters": 900.0, "bytes_on_disk": 2048.0, "flops_per_token": 2000.0}
ROUNDS = np.array([1.01, 0.99, 1.0, 1.02, 0.98, 1.005, 0.995])


def side(rows: list[Row]) -> Side:
    tasks = {name: [row for row in rows if row["task"] == name] for name in METRICS}
    return Side("wanda", Path("items"), {name: actual for name, actual in tasks.items() if actual}, METRICS, "r")


def variant(rows: list[Row] = DENSE, **more: object) -> Measured:
    """A variant with answers, sizes, memory and speeds, as measured on a machine called "here"."""
    taken = {"evaluate": ("key", 1.0)}
    whole = Measured("wanda", side(rows), SIZES, 1e9, {"prefill_b1": ROUNDS}, fingerprint="here", taken=taken)
    return replace(whole, **more)  # type: ignore[arg-type]


def judged(old: Measured, new: Measured, **limits: float) -> list[Check]:
    return judge({"wanda": old}, {"wanda": new}, Limits(**limits))


def verdicts(actual: list[Check]) -> dict[str, str]:
    return {check.what: check.verdict for check in actual if check.verdict != "ok"}


def test_equal_runs_pass_and_are_known_to_be_equal():
    actual = judged(variant(), variant())
    assert verdicts(actual) == {}
    assert outcome(actual, anew=True) == PASSED
    assert all(check.same for check in actual if check.kind in ("scores", "average"))
    assert {check.kind for check in actual} == {"scores", "average", "size", "memory", "speed"}


def test_a_significant_drop_is_worse_and_a_gain_is_better():
    actual = judged(variant(BETTER), variant(DENSE))  # 8 of 20 lost, 1 gained, perplexity 3 % better
    assert verdicts(actual) == {}  # Holm over three tasks: p = 0.039 is no proof
    fallen = answered([0] * 12 + [1] + [0] * 7, [1] * 8, [100.0, 130.0, 150.0])
    whole = answered([1] * 12 + [0] * 8, [1] * 8, [100.0, 130.0, 150.0])
    actual = judged(variant(whole), variant(fallen))
    assert verdicts(actual) == {"piqa acc": "worse", "mean of 2 tasks": "worse"}
    assert outcome(actual, anew=True) == REGRESSED
    assert set(verdicts(judged(variant(fallen), variant(whole))).values()) == {"better"}


def test_p_is_adjusted_over_all_variants():
    fallen = answered([0] * 7 + [1] * 5, [1] * 8, [])
    whole = answered([1] * 12, [1] * 8, [])
    old = {f"v{index}": variant(whole) for index in range(40)}
    alone = judge({"v0": variant(whole)}, {"v0": variant(fallen)}, Limits())
    among = judge(old, {**old, "v0": variant(fallen)}, Limits())
    assert verdicts(alone)["piqa acc"] == "worse"  # p = 0.016 over two tasks
    assert "piqa acc" not in verdicts(among)
    assert next(check.p for check in among if check.what == "piqa acc") == 1.0


def test_a_drop_within_what_is_allowed_passes():
    fallen, whole = answered([0] * 10 + [1] * 90, [], []), answered([1] * 100, [], [])
    assert verdicts(judged(variant(whole), variant(fallen))) == {"piqa acc": "worse"}
    assert verdicts(judged(variant(whole), variant(fallen), drop=0.1)) == {}
    assert verdicts(judged(variant(whole), variant(fallen), drop=0.09)) == {"piqa acc": "worse"}


def test_a_perplexity_may_rise_by_what_is_allowed():
    losses = [100.0 + index for index in range(12)]
    old, new = answered([], [], losses), answered([], [], [loss * 1.01 for loss in losses])
    actual = judged(variant(old), variant(new))
    assert verdicts(actual) == {"wikitext word_perplexity": "worse"}
    [score] = [check for check in actual if check.kind == "scores"]
    assert score.before is not None
    assert score.now is not None
    ratio = score.now / score.before - 1  # per word: 1 % of about one nat
    assert verdicts(judged(variant(old), variant(new), perplexity=1.01 * ratio)) == {}
    assert verdicts(judged(variant(old), variant(new), perplexity=0.99 * ratio)) != {}


@pytest.mark.parametrize("change", [-1, 1])
@pytest.mark.parametrize("name", list(SIZES))
def test_sizes_are_exact_both_ways(name, change):
    actual = judged(variant(), variant(sizes=SIZES | {name: SIZES[name] + change}))
    assert verdicts(actual) == {name: "differs"}
    assert outcome(actual, anew=True) == REGRESSED


def test_speed_needs_significance_and_the_least_effect():
    def slowed(factor: float, noise: float = 1.0) -> dict[str, str]:
        return verdicts(judged(variant(), variant(speeds={"prefill_b1": factor * ROUNDS**noise})))

    assert slowed(0.8) == {"prefill_b1": "worse"}
    assert slowed(1.3) == {"prefill_b1": "better"}
    assert slowed(0.93) == {}  # sure, and small
    assert slowed(0.85, noise=30) == {}  # large, and unsure


def test_too_few_rounds_for_so_many_tests_are_told_and_not_judged():
    old = {f"v{index}": variant(speeds={"prefill_b1": ROUNDS[:4]}) for index in range(2)}
    new = {name: variant(speeds={"prefill_b1": 0.5 * ROUNDS[:4]}) for name in old}
    actual = [check for check in judge(old, new, Limits()) if check.kind == "speed"]
    assert {check.verdict for check in actual} == {"not judged"}  # 2 / 70 over two tests is above 5 %
    assert "measure.rounds" in actual[0].said
    alone = judge({"v0": old["v0"]}, {"v0": new["v0"]}, Limits())
    assert verdicts(alone) == {"prefill_b1": "worse"}


def test_speed_and_memory_of_another_machine_are_never_judged():
    there = variant(speeds={"prefill_b1": 0.1 * ROUNDS}, memory=9e9, fingerprint="there")
    actual = judged(variant(), there)
    assert verdicts(actual) == {"prefill_b1": "not judged", "peak memory": "not judged"}
    assert outcome(actual, anew=True) == PASSED


def test_memory_may_grow_by_what_is_allowed():
    assert verdicts(judged(variant(), variant(memory=1.09e9))) == {}
    assert verdicts(judged(variant(), variant(memory=1.11e9))) == {"peak memory": "worse"}
    assert verdicts(judged(variant(), variant(memory=1.11e9), memory=0.2)) == {}


def test_a_busy_machine_is_told():
    actual = judged(variant(), variant(speeds={"prefill_b1": 0.5 * ROUNDS}, contended=True))
    assert [check.said for check in actual if check.kind == "speed"] == ["timed on a busy machine"]


def test_flips_may_be_forbidden():
    old, new = answered([1] * 19 + [0], [1] * 8, [50.0]), answered([1] * 18 + [0, 1], [1] * 8, [50.001])
    assert verdicts(judged(variant(old), variant(new))) == {}
    assert verdicts(judged(variant(old), variant(new), flips=2)) == {}
    assert list(verdicts(judged(variant(old), variant(new), flips=1)).values()) == ["differs"]


@pytest.mark.parametrize(
    ("new", "what", "said"),
    [
        (variant(side=None, missing={"evaluate": "killed by SIGKILL"}), "scores", "killed by SIGKILL"),
        (variant(answered([1] * 10 + [0] * 10, [1, 1, 0, 0, 1, 0, 1, 1], [])), "wikitext", "did not score this task"),
        (variant(answered([1] * 9, [1, 1, 0, 0, 1, 0, 1, 1], [100.0, 130.0, 150.0])), "piqa", "different items"),
        (variant(sizes={}, missing={"footprint": "out of memory"}), "parameters", "out of memory"),
        (variant(speeds={}), "prefill_b1", "not measured"),
    ],
    ids=["failed", "task", "items", "size", "speed"],
)
def test_what_the_baseline_has_and_the_run_has_not_is_missing(new, what, said):
    actual = judged(variant(), new)
    assert outcome(actual, anew=True) == REGRESSED
    missing = {check.what: check.said for check in actual if check.verdict == "missing"}
    assert said in missing[what]


def test_a_variant_that_the_run_lacks_is_missing_and_a_new_one_is_not_judged():
    actual = judge({"a": variant(), "b": variant()}, {"a": variant(), "c": variant()}, Limits())
    assert [(check.variant, check.verdict) for check in actual if check.verdict != "ok"] == [("b", "missing")]
    assert "c" not in {check.variant for check in actual}


def test_measuring_nothing_is_a_failure_of_its_own():
    assert outcome([], anew=True) == NOTHING
    assert outcome(judged(variant(), variant()), anew=False) == NOTHING
    old, again = {"wanda": variant()}, variant(taken={"evaluate": ("key", 2.0)})
    assert not measured_anew(old, {"wanda": variant()})
    assert measured_anew(old, {"wanda": again})
    assert not measured_anew(old, {"wanda": variant(), "new": again})  # what is not judged is no measurement of ours


RUN = ["methods=[wanda]", "budgets=[0.5]", "quantizers=[none]", "measure.rounds=5"]
NOISE = ["speed=9", "memory=9"]  # of a test machine, is not what these tests are about


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """A folder with the store of one finished run, which nobody changes."""
    folder = tmp_path_factory.mktemp("finished")
    ran(folder, *RUN)
    return folder


@pytest.fixture
def main_run(finished, tmp_path) -> Path:
    """A copy of that folder to do with as a test likes."""
    return shutil.copytree(finished, tmp_path / "main")


@pytest.fixture
def gate(tmp_path, capsys):
    """Call `harness gate` on the store in a folder below `tmp_path`; returns its exit code and words."""

    def call(place: str, *more: str) -> tuple[int, str]:
        code = main(["gate", f"store={tmp_path / place / 'store'}", f"baseline={tmp_path / 'baseline'}", *more])
        said = capsys.readouterr()
        return code, " ".join((said.out + said.err).split())

    return call


@pytest.mark.usefixtures("main_run")
def test_the_same_code_passes_and_other_answers_fail(tmp_path, gate):
    """The whole way: run, keep, run anew in a fresh store, judge."""
    assert gate("main") == (2, said_of_an_empty(tmp_path / "baseline"))
    assert gate("main", "update=true")[0] == 0
    code, said = gate("main")
    assert code == NOTHING
    assert "nothing was measured: the run holds the baseline's own measurements" in said

    ran(tmp_path / "again", *RUN)
    code, said = gate("again", "flips=0", *NOISE)
    assert code == PASSED
    assert said.count("same answers") == 2  # dense and wanda
    assert "no regression: 14 scores, 2 averages, 2 flip counts, 8 sizes, 2 peaks, 4 timings of 2 variants" in said

    ran(tmp_path / "other", *RUN, "seed=1")  # other weights
    code, said = gate("other", "flips=0", *NOISE)
    assert code == REGRESSED
    assert "differs: wanda@0.5, items that turned right or wrong: 0 →" in said
    assert "note: seed: 0 in the baseline, 1 now" in said
    code, said = gate("other", "flips=0", "format=json", *NOISE)
    report = json.loads(said)
    assert report["code"] == code == REGRESSED
    assert {check["kind"] for check in report["checks"] if check["verdict"] == "differs"} == {"flips"}


def said_of_an_empty(folder: Path) -> str:
    return f"harness: baseline={folder} holds no run; keep one there with harness gate baseline={folder} update=true"


def test_a_baseline_is_small_and_replaced_whole_and_nothing_else_is_ever_overwritten(tmp_path, main_run, gate):
    precious = tmp_path / "baseline" / "thesis.tex"
    precious.parent.mkdir()
    precious.write_text("years of work")
    code, said = gate("main", "update=true")
    assert code == 2
    assert "is no baseline of ours and not empty" in said
    assert precious.read_text() == "years of work"
    precious.unlink()
    assert gate("main", "update=true")[0] == 0
    kept = Store(tmp_path / "baseline")
    [first] = kept.runs()
    assert not list(kept.root.rglob("*.safetensors"))
    assert {kept.record(key)["kind"] for key in kept.keys()} == {"evaluate", "footprint", "speed"}
    ran(main_run, *RUN, "limit=3")
    assert gate("main", "update=true")[0] == 0
    [second] = kept.runs()
    assert first["id"] != second["id"]
    assert not list(tmp_path.glob(".baseline*"))


@pytest.mark.parametrize("place", ["baseline", ".baseline.old", ".baseline.new"])
def test_what_somebody_put_beside_or_into_a_baseline_is_never_deleted(tmp_path, place):
    run, store = {"id": "r", "variants": []}, Store(tmp_path / "store")
    gate_baseline.keep(run, store, tmp_path / "baseline")
    note = tmp_path / place / "README.md"
    note.parent.mkdir(exist_ok=True)
    note.write_text("why these limits")
    with pytest.raises(ValueError, match=f"{place} holds README.md, which no baseline of ours does"):
        gate_baseline.keep(run, store, tmp_path / "baseline")
    assert note.read_text() == "why these limits"
    note.unlink()
    gate_baseline.keep(run, store, tmp_path / "baseline")


def test_an_incomplete_run_makes_no_baseline(main_run, gate):
    made, store = planned(main_run, *RUN)
    store.set_aside(made.variants[1].measures["evaluate"].key)
    code, said = gate("main", "update=true")
    assert code == 2
    assert "is incomplete (wanda@0.5) and makes no baseline" in said


def test_a_failed_variant_is_missing_with_its_reason(main_run, gate):
    assert gate("main", "update=true")[0] == 0
    made, store = ran(main_run, *RUN)[:2]
    key = made.variants[1].measures["evaluate"].key
    store.set_aside(key)
    store.fail(key, "out of memory: 12 GB")
    code, said = gate("main")
    assert code == REGRESSED
    assert "missing: wanda@0.5, scores: out of memory: 12 GB" in said


@pytest.mark.parametrize(
    ("asked", "line"),
    [
        ([], "gate needs baseline=: folder where a run was kept"),
        (["baseline=b", "levl=0.9"], "key levl is unknown; did you mean level?"),
        (["baseline=b", "speed=fast"], "speed must be a number, not fast"),
        (["baseline=b", "level=1"], "level must lie in (0, 1)"),
        (["baseline=b", "drop=-1"], "level must lie in (0, 1)"),
        (["baseline=b", "flips=nan"], "flips must be a number, not nan"),
        (["baseline=b", "update=yes"], "update yes is unknown"),
        (["baseline=b", "store=nowhere"], "nowhere: no such folder; start with harness run"),
    ],
)
def test_wrong_words_are_one_line(tmp_path, monkeypatch, capsys, asked, line):
    monkeypatch.chdir(tmp_path)
    assert main(["gate", *asked]) == 2
    [said] = capsys.readouterr().err.splitlines()
    assert line in said


def test_a_gate_loads_no_torch(finished):
    words = ["gate", f"store={finished / 'store'}", f"baseline={finished / 'store'}"]
    code = f"import sys\nfrom harness.cli import main\nassert main({words!r}) == 3\nassert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


@pytest.mark.usefixtures("main_run")
def test_the_verdict_stays_where_the_terminal_is_narrow(gate, monkeypatch):
    assert gate("main", "update=true")[0] == 0
    monkeypatch.setenv("COLUMNS", "60")
    said = gate("main")[1]
    assert "verdict" in said.split("left out at this width")[0]
    assert "slowest" in said.split("left out at this width")[1]
