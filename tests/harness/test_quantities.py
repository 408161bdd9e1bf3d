"""One table says which way a number is better.

A task's metric is better as lm-eval's definition says, whatever its name.
"""

from __future__ import annotations

import math

import pytest
from lm_eval.api.metrics import perplexity
from lm_eval.api.registry import METRIC_REGISTRY, is_higher_better
from stored_answers import DENSE, Stored, choice
from written_suites import QUIZ, quiz, refusal, sourced, write_suite

from harness.evaluation.items import EMPTY, scores, value
from harness.measures.all_measures import quantity, table
from harness.quantities import METRICS, mean, metric, recorded, share
from reports.compare.pairs import compare
from reports.compare.sentences import sentence
from reports.compare.sides import Side, sides
from reports.gate.checks import Limits
from reports.gate.judge import judge
from reports.gate.measured import Measured
from reports.run import rows as reading
from reports.run.averages import add_averages
from reports.run.columns import COST, SUMMARY, task
from reports.run.points import AXES

SURPRISED = QUIZ.replace("metric: acc", "metric: surprisal").replace("true", "false") + (
    "process_results: !function judging.surprisal\n"
)


def judged(number: int, surprisal: float) -> dict:
    """An item that its task judges in a unit of its own."""
    metrics = [{"name": "surprisal", "value": surprisal}]
    return choice("quiz", number, True, True) | {"prediction": None, "prediction_norm": None, "metrics": metrics}


def surprised(more: float) -> list[dict]:
    return [judged(number, 3.0 + number % 3 + more * (1 + number % 2)) for number in range(24)]


def side(name: str, rows: list[dict], better: str = "lower", kind: str = "mean") -> Side:
    kept = {"quiz": {"surprisal": {"better": better, "kind": kind}}}
    return Side(name, None, {"quiz": rows}, {"quiz": "surprisal"}, "r", kept)


@pytest.mark.parametrize("name", [name for name in METRICS if name != "token_perplexity"])
def test_what_a_definition_leaves_open_is_as_lm_evals_registry_has_it(name):
    assert name in METRIC_REGISTRY
    assert (metric(name).better == "higher") is bool(is_higher_better(name))


def test_every_number_of_a_table_or_plot_is_in_the_one_table_with_a_direction():
    for column in (*SUMMARY, *COST):
        assert column.better == quantity(column.key).arrow != ""
    for axis in AXES:
        assert axis.fronts
        assert axis.axis
    assert all(actual.better for actual in table().values())


def test_a_number_that_the_table_lacks_has_no_guessed_direction():
    with pytest.raises(ValueError, match="^joules_per_kilogram is no quantity"):
        quantity("joules_per_kilogram")


def test_a_definitions_direction_reaches_the_runs_record(tmp_path):
    (tmp_path / "judging.py").write_text("def surprisal(row, results):\n    return {'surprisal': 1.0}\n")
    quiz(tmp_path, SURPRISED)
    [spec], _, notices = sourced(write_suite(tmp_path, {"task": "quiz"}))
    assert (spec.quantity.key, spec.quantity.better, spec.quantity.kind) == ("surprisal", "lower", "mean")
    assert "share: true" in notices[0]
    [spec], _, notices = sourced(write_suite(tmp_path, {"task": "quiz", "share": True}))
    assert (spec.quantity.better, spec.quantity.kind, notices) == ("lower", "share", [])


def test_what_is_said_of_a_metric_is_no_other_question_to_a_model(tmp_path):
    quiz(tmp_path)
    [spec], _, _ = sourced(write_suite(tmp_path, {"task": "quiz"}))
    assert spec.fingerprint_fields() == spec.model_copy(update={"metrics": ()}).fingerprint_fields()


def test_a_metric_of_ones_own_without_a_direction_is_refused(tmp_path):
    quiz(tmp_path, SURPRISED.replace("    higher_is_better: false\n", ""))
    (tmp_path / "judging.py").write_text("")
    line = refusal(write_suite(tmp_path, {"task": "quiz"}))
    assert line == "quiz: its definition does not say whether more surprisal is better; give it higher_is_better"


def test_more_of_what_should_be_less_is_lost_and_worse_and_no_points():
    report = compare([side("dense", surprised(0.0)), side("nas", surprised(4.0))])
    [actual] = report.comparisons[0].tasks
    assert (len(actual.lost), len(actual.gained)) == (24, 0)
    assert actual.difference.estimate == pytest.approx(6.0)
    said = sentence(report, report.comparisons[0], actual)
    assert "nas is 6 above (worse) dense (10 against 4)" in said
    assert "points" not in said
    assert report.comparisons[0].average is None


def test_a_gate_fails_on_more_of_what_should_be_less():
    def verdict(old: float, new: float) -> str:
        before, now = (Measured("dense", side("dense", surprised(more))) for more in (old, new))
        [check] = judge({"dense": before}, {"dense": now}, Limits())
        return check.verdict

    assert verdict(0.0, 1.0) == "worse"
    assert verdict(1.0, 0.0) == "better"


def test_a_task_column_shows_a_mean_as_it_is_and_its_arrow():
    column = task("quiz", mean("surprisal", "lower"))
    row = {"quiz.surprisal": 4.25, "quiz.stderr": 0.125}
    assert (column.title, column.text(row, None), column.detail(row, None)) == ("quiz surprisal ↓", "4.25", "±0.12")
    column = task("quiz", share("error", "lower"))
    assert (column.title, column.text({"quiz.error": 0.25}, None)) == ("quiz error % ↓", "25.0")


def test_only_shares_of_which_more_is_better_are_averaged():
    items = [{**row, "task": name} for name in ("a", "b", "c") for row in surprised(0.0)]
    rows = [{"variant": "dense", "method": "dense", "a.acc": 1.0, "b.surprisal": 4.0, "c.error": 0.5}]
    kinds = {"a": share("acc"), "b": mean("surprisal", "lower"), "c": share("error", "lower")}
    for item in items:
        item["metrics"] = [*item["metrics"], {"name": "acc", "value": 1.0}, {"name": "error", "value": 0.5}]
    add_averages(rows, [items], kinds)
    assert (rows[0]["average_metric"], rows[0]["average"]) == ("a acc", 1.0)


def test_an_older_run_is_read_by_lm_evals_names(tmp_path):
    stored = Stored(tmp_path / "store")
    stored.run("r", {"dense": DENSE, "nas": DENSE})
    dense, _ = sides(["dense", "nas"], stored.store)
    assert [dense.quantity(*pair).kind for pair in dense.metrics.items()] == ["share", "share", "perplexity"]
    assert recorded("acc", None) == metric("acc")


def test_a_metric_that_nobody_gave_a_direction_is_left_out_of_comparisons():
    pair = [Side(name, None, {"quiz": surprised(0.0)}, {"quiz": "surprisal"}, "r") for name in ("a", "b")]
    with pytest.raises(ValueError, match=r"quiz \(nothing says whether more surprisal is better\)"):
        compare(pair)


def test_runs_that_disagree_about_a_metric_are_not_compared():
    with pytest.raises(ValueError, match="a mean of which less is better and a mean of which more is better"):
        compare([side("a", surprised(0.0)), side("b", surprised(1.0), better="higher")])


def test_an_own_metric_aggregated_as_a_perplexity_is_lm_evals_number():
    kind = metric("my_ppl", "lower", aggregation="perplexity")
    likelihoods = [-1.5, -2.0, -4.0]
    rows = [
        judged(number, 0.0) | {"metrics": [{"name": "my_ppl", "value": ll}]} for number, ll in enumerate(likelihoods)
    ]
    assert scores(rows, kind)["my_ppl"] == pytest.approx(perplexity(likelihoods), rel=1e-12)


def test_a_mean_whose_name_ends_like_a_perplexity_is_a_mean():
    row = EMPTY | {"metrics": [{"name": "human_perplexity", "value": 7.0}], "task": "quiz", "cluster": "a"}
    kind = metric("human_perplexity", "lower", aggregation="mean")
    assert scores([row, row | {"cluster": "b"}], kind)["human_perplexity"] == 7.0


def test_an_item_without_the_metric_is_not_in_its_mean():
    rows = [judged(0, 2.0), judged(1, 4.0), judged(2, 0.0) | {"metrics": [{"name": "acc", "value": 1.0}]}]
    actual = scores(rows, mean("surprisal", "lower"))
    assert (actual["surprisal"], actual["n"]) == (3.0, 2)
    assert math.isnan(value(rows[2], mean("surprisal", "lower")))
    with pytest.raises(ValueError, match="^quiz: no item has the metric other$"):
        scores(rows, mean("other", "lower"))


def test_pairs_need_the_metric_on_both_sides():
    first = [judged(number, 1.0 + number) for number in range(6)]
    gone = [row | {"metrics": []} if number == 2 else row for number, row in enumerate(first)]
    [actual] = compare([side("a", gone), side("b", gone)]).comparisons[0].tasks
    assert actual.difference.items == 5
    with pytest.raises(ValueError, match="judged of other items"):
        compare([side("a", first), side("b", gone)])


def test_the_facts_of_a_run_name_the_direction_of_every_task(tmp_path):
    stored = Stored(tmp_path / "store")
    stored.run("r", {"dense": DENSE})
    run = {**stored.store.runs()[0], "config": dict.fromkeys(("model", "suite", "limit", "seed", "profile", "scorer"))}
    run |= {"dtype": "", "environment": {}, "command": "", "seconds": 0.0, "variants": []}
    facts = reading._facts(run, stored.store)
    assert [(entry["name"], entry["better"]) for entry in facts["tasks"]] == [
        ("piqa", "higher"),
        ("arc", "higher"),
        ("wikitext", "lower"),
    ]
