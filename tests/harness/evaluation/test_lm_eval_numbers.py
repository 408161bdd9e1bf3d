"""Definitions of every legal kind get lm-eval's own number, or the plan says why they cannot."""

from __future__ import annotations

import pytest
from lm_eval.evaluator import evaluate
from lm_eval.tasks import TaskManager
from written_suites import QUIZ, quiz, refusal, sourced, write_rows, write_suite

from harness.data import definitions, tasks
from harness.evaluation.evaluate import lm_eval_rows
from harness.evaluation.items import scores
from harness.evaluation.journal import Journal
from harness.evaluation.lm import TreeLM

TRAINING = "{train: quiz/train.jsonl, validation: quiz/validation.jsonl}"
SPLITS = "training_split: train\nvalidation_split: validation"
SPOKEN = """\
task: quiz
dataset_path: json
dataset_kwargs:
  data_files: {test: quiz/validation.jsonl}
test_split: test
output_type: generate_until
doc_to_text: "Q: {{question}}"
doc_to_target: "{{answer}}"
generation_kwargs: {until: ["###"], max_gen_toks: 6, do_sample: true, temperature: 1.5}
repeats: 4
process_results: !function judging.distinct
filter_list:
  - {name: four, filter: [{function: take_first_k, k: 4}]}
metric_list:
  - {metric: distinct, aggregation: mean, higher_is_better: true}
"""


def numbers(tiny, folder, journal: Journal | None = None, **asked: object) -> tuple[dict, dict, list[str]]:
    """Return our numbers of the quiz, lm-eval's own by metric and filter, and the plan's notices."""
    [spec], _, notices = sourced(write_suite(folder, {"task": "quiz", **asked}))
    parts = tasks.load((spec,), folder / "made")["quiz"]
    rows = lm_eval_rows("quiz", parts, TreeLM(*tiny, journal=journal), None, spec.filter)
    theirs = evaluate(TreeLM(*tiny, journal=journal), {"tasks": parts}, bootstrap_iters=0)["results"]["quiz"]
    return scores(rows, spec.quantity, spec.others), theirs, notices


def labelled(folder, target: str, labels: list[object]) -> None:
    quiz(folder, QUIZ.replace('"{{answer}}"', target))
    rows = [{"question": f"Is {place} odd?", "label": label} for place, label in enumerate(labels)]
    for split in ("train", "validation"):
        write_rows(folder / "quiz" / f"{split}.jsonl", rows)


@pytest.mark.parametrize(
    ("files", "splits", "items"),
    [
        ("quiz/validation.jsonl", "test_split: train", 2),
        ('"quiz/*.jsonl"', "test_split: train", 6),
        ('{test: "quiz/val*.jsonl"}', "test_split: test", 2),
        ('{test: ["quiz/val*.jsonl", quiz/train.jsonl]}', "test_split: test", 6),
    ],
    ids=["string", "pattern", "pattern of a split", "list"],
)
def test_data_files_may_be_written_as_datasets_reads_them(tmp_path, tiny, files, splits, items):
    quiz(tmp_path, QUIZ.replace(TRAINING, files).replace(SPLITS, splits))
    ours, theirs, _ = numbers(tiny, tmp_path)
    assert ours["n"] == theirs["sample_len"] == items
    assert ours["acc"] == theirs["acc,none"]


def test_a_pattern_is_known_by_what_it_matches_and_refused_where_it_matches_nothing(tmp_path):
    quiz(tmp_path, QUIZ.replace(TRAINING, '"quiz/val*.jsonl"').replace(SPLITS, "test_split: train"))
    [before], _, _ = sourced(write_suite(tmp_path, {"task": "quiz"}))
    write_rows(tmp_path / "quiz" / "value.jsonl", [{"question": "Is 9 even?", "answer": "no"}])
    [after], _, _ = sourced(write_suite(tmp_path, {"task": "quiz"}))
    assert before.source.content != after.source.content
    assert (before.source.rows, after.source.rows) == (2, 3)
    quiz(tmp_path, QUIZ.replace(TRAINING, '"quiz/absent*.jsonl"').replace(SPLITS, "test_split: train"))
    assert "absent*.jsonl, which does not exist" in refusal(write_suite(tmp_path, {"task": "quiz"}))


def test_repeats_that_are_drawn_are_draws_of_their_own_and_come_again_after_a_kill(tmp_path, tiny):
    (tmp_path / "judging.py").write_text("def distinct(row, results):\n    return {'distinct': len(set(results[0]))}\n")
    quiz(tmp_path, SPOKEN)
    ours, theirs, _ = numbers(tiny, tmp_path, Journal(tmp_path / "answers.jsonl"))
    assert ours["distinct"] == theirs["distinct,four"] > 2  # a random model hardly says the same thing twice
    [spec], _, _ = sourced(write_suite(tmp_path, {"task": "quiz"}))
    assert spec.fingerprint_fields()["drawn"] == 1
    again = Journal()
    numbers(tiny, tmp_path, again)
    assert again.found == Journal(tmp_path / "answers.jsonl").found


def test_greedy_repeats_are_generated_once(tmp_path, tiny):
    (tmp_path / "judging.py").write_text("def distinct(row, results):\n    return {'distinct': len(set(results[0]))}\n")
    quiz(tmp_path, SPOKEN.replace("do_sample: true, temperature: 1.5", "do_sample: false"))
    journal = Journal()
    ours, theirs, _ = numbers(tiny, tmp_path, journal)
    assert ours["distinct"] == theirs["distinct,four"] == 1
    assert len(journal.found) == 2


def test_a_metric_that_some_items_lack_is_lm_evals_mean_over_the_others(tmp_path, tiny):
    (tmp_path / "judging.py").write_text(
        "def judge(row, results):\n    odd = int(row['question'][3])\n"
        "    return {'acc': 1.0, **({'worth': float(odd)} if odd % 2 else {})}\n"
    )
    more = "process_results: !function judging.judge\n"
    quiz(
        tmp_path,
        QUIZ.replace("metric: acc", "metric: worth").replace(
            TRAINING, "{train: quiz/train.jsonl, validation: quiz/train.jsonl}"
        )
        + more,
    )
    ours, theirs, _ = numbers(tiny, tmp_path)
    assert ours["worth"] == theirs["worth,none"] == 1.0  # of 0, 1, 2 and 4 only 1 has it
    assert ours["n"] == 1


@pytest.mark.parametrize("target", ["label", '"{{label}}"'])
def test_a_label_that_is_a_place_is_lm_evals(tmp_path, tiny, target):
    labelled(tmp_path, target, [0, 1, 1, 0, 1])
    ours, theirs, _ = numbers(tiny, tmp_path)
    assert ours["acc"] == theirs["acc,none"]


def test_digits_of_a_template_are_places_as_in_lm_eval(tmp_path, tiny):
    labelled(tmp_path, '"{{label}}"', ["0", "1", "1", "0", "1"])
    ours, theirs, _ = numbers(tiny, tmp_path)
    assert ours["acc"] == theirs["acc,none"] > 0


@pytest.mark.parametrize(
    ("target", "labels", "said"),
    [
        ("label", [0, 1, 0, 5], "the label 5 is none of the 2 choices"),
        ("label", [0, -1], "the label -1 is none of the 2 choices"),
        ("label", [7, 7], "the first one's label is none of its choices"),
        ("label", ["yes", "maybe"], "the label 'maybe' is none of the 2 choices"),
        ("label", ["0", "1"], "the label '0' is none of the 2 choices"),
    ],
    ids=["one", "negative", "all", "words", "digits"],
)
def test_a_label_that_is_no_choice_is_refused_by_the_plan(tmp_path, target, labels, said):
    labelled(tmp_path, target, labels)
    assert said in refusal(write_suite(tmp_path, {"task": "quiz"}))


def test_a_definition_that_lm_eval_cannot_load_is_refused_by_the_plan(tmp_path):
    quiz(tmp_path, QUIZ.replace("{{question}}", "{{nothing}}"))
    assert refusal(write_suite(tmp_path, {"task": "quiz"})).startswith("quiz: lm-eval cannot load its definition")


def test_a_task_without_items_is_refused_by_the_plan(tmp_path):
    quiz(tmp_path, QUIZ + "process_docs: !function judging.none\n")
    (tmp_path / "judging.py").write_text("def none(rows):\n    return rows.select([])\n")
    assert "there is no item to score" in refusal(write_suite(tmp_path, {"task": "quiz"}))


def test_a_metric_that_is_a_function_is_called_as_lm_eval_calls_it(tmp_path, tiny):
    (tmp_path / "judging.py").write_text("def worth(items):\n    return float(len(items[1]))\n")
    quiz(
        tmp_path,
        SPOKEN.split("process_results")[0]
        + "metric_list: [{metric: !function judging.worth, aggregation: mean, higher_is_better: true}]\n",
    )
    ours, theirs, _ = numbers(tiny, tmp_path)
    assert ours["worth"] == theirs["worth,none"]


FILTERED = """\
filter_list:
  - {name: last, filter: [{function: regex, regex_pattern: "(x)", group_select: -1}, {function: take_first}]}
  - {name: whole, filter: [{function: take_first}]}
"""


def test_of_several_filters_the_plan_names_the_one_that_is_scored_and_a_suite_may_choose(tmp_path, tiny):
    (tmp_path / "judging.py").write_text(
        "def distinct(row, results):\n    return {'distinct': float(len(results[0]))}\n"
    )
    quiz(tmp_path, SPOKEN.split("filter_list")[0] + FILTERED + SPOKEN[SPOKEN.index("metric_list") :])
    first, theirs, notices = numbers(tiny, tmp_path)
    assert notices[0] == "quiz: of its filters (last, whole) the first is scored; choose with filter:"
    assert first["distinct"] == theirs["distinct,last"]
    second, theirs, notices = numbers(tiny, tmp_path, filter="whole", share=False)
    assert notices == []
    assert second["distinct"] == theirs["distinct,whole"] != first["distinct"]
    [spec], _, _ = sourced(write_suite(tmp_path, {"task": "quiz", "filter": "whole"}))
    assert spec.quantity.through == "whole"
    assert "filter other is none of its filters (last, whole)" in refusal(
        write_suite(tmp_path, {"task": "quiz", "filter": "other"})
    )


def test_a_group_beside_the_suite_is_refused_by_its_name(tmp_path):
    quiz(tmp_path)
    (tmp_path / "both.yaml").write_text("group: both\ntask: [quiz]\n")
    line = refusal(write_suite(tmp_path, {"task": "both"}))
    assert line.endswith("both.yaml defines a group, which a suite cannot hold; name its tasks in the suite one by one")


def test_a_group_whose_tasks_count_alike_is_refused(tmp_path, monkeypatch):
    """Stands for a group of lm-eval's own, over the hub."""
    quiz(tmp_path)
    (tmp_path / "other.yaml").write_text(QUIZ.replace("task: quiz", "task: other"))
    (tmp_path / "both.yaml").write_text(
        "group: both\ntask: [quiz, other]\naggregate_metric_list: [{metric: acc, weight_by_size: false}]\n"
    )
    known = TaskManager(include_path=tmp_path, include_defaults=False)
    monkeypatch.setattr(definitions, "manager", lambda: known)
    monkeypatch.setattr("harness.data.origin._revision", lambda *place: "revision")
    (tmp_path / "elsewhere").mkdir()
    line = refusal(write_suite(tmp_path / "elsewhere", {"task": "both"}))
    assert line.startswith("both: lm-eval's mean of acc counts its tasks alike or in a way of its own")


def test_a_plan_says_nothing_of_lm_evals_about_loading(tmp_path, caplog):
    quiz(tmp_path, QUIZ.split("metric_list")[0] + "metric_list: [{metric: acc}]\n")
    sourced(write_suite(tmp_path, {"task": "quiz"}))
    assert not [told for told in caplog.records if told.name.startswith("lm_eval")]
