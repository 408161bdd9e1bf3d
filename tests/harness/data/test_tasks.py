"""Tasks load from the table with the rows, shots and metric they were given."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from written_suites import QUIZ, prompt, quiz, refusal, sourced, write_rows, write_suite

from harness.data import catalogue, origin, tasks
from harness.data.definitions import definitions
from harness.spec import DataSource, TaskSpec

PIQA = [{"goal": f"Goal {index}", "sol1": "one", "sol2": "two", "label": index % 2} for index in range(4)]


@pytest.fixture
def subjects(tmp_path, monkeypatch) -> Path:
    """A mirror with three invented questions and five examples of each of two subjects.

    There are no other subjects.
    """
    named = {f"mmlu_{subject}": subject for subject in ("anatomy", "virology")}
    monkeypatch.setattr("harness.data.catalogue.mmlu_subjects", lambda: named)
    for split, count in (("test", 3), ("dev", 5)):
        rows = [
            {
                "question": f"{split} {subject} {index}?",
                "subject": subject,
                "choices": list("abcd"),
                "answer": index % 4,
            }
            for index in range(count)
            for subject in named.values()
        ]
        path = write_rows(tmp_path / "mmlu" / f"{split}.jsonl", rows)
        if split == "test":
            (tmp_path / "mmlu" / "test.jsonl.gz").write_bytes(gzip.compress(path.read_bytes()))
    return tmp_path


def test_a_subject_has_its_own_rows_only(subjects, tmp_path):
    spec = TaskSpec(source=origin.source("mmlu_virology", subjects))
    assert spec.source.rows == 3
    actual = tasks.load((spec,), tmp_path / "scratch")
    assert list(actual) == ["mmlu_virology"]
    [(part, task)] = actual["mmlu_virology"].items()
    assert part == "mmlu_virology"
    assert [row["question"] for row in task.eval_docs] == [f"test virology {index}?" for index in range(3)]


def test_the_group_has_every_subject_as_a_part(subjects, tmp_path):
    spec = TaskSpec(source=origin.source("mmlu", subjects), label="all")
    actual = tasks.load((spec,), tmp_path / "scratch")
    assert {name: list(parts) for name, parts in actual.items()} == {"all": ["mmlu_anatomy", "mmlu_virology"]}
    for part, task in actual["all"].items():
        assert {row["subject"] for row in task.eval_docs} == {part.removeprefix("mmlu_")}
    assert spec.source.rows == 6


def test_examples_are_the_first_of_the_dev_split(subjects, tmp_path):
    spec = TaskSpec(source=origin.source("mmlu_virology", subjects), shots=2)
    [task] = tasks.load((spec,), tmp_path / "scratch")["mmlu_virology"].values()
    words = prompt(task)
    assert words.count("Answer:") == 3
    assert words.index("dev virology 0?") < words.index("dev virology 1?") < words.index("test virology 0?")


def test_a_mirror_without_examples_serves_no_shots_and_names_the_file_for_more(subjects, tmp_path):
    (subjects / "mmlu" / "dev.jsonl").unlink()
    [spec], _, notices = sourced(write_suite(tmp_path, {"task": "mmlu_anatomy"}), subjects)
    [task] = tasks.load((spec,), tmp_path / "scratch")["mmlu_anatomy"].values()
    assert len(task.eval_docs) == 3
    assert notices == [f"mmlu/test.jsonl.gz in data_dir={subjects} holds 6 of 14,042 rows"]
    line = refusal(write_suite(tmp_path, {"task": "mmlu", "shots": 5}), subjects)
    assert line == (
        "mmlu: shots=5 needs examples that are not reported, and no split holds any; "
        f"data_dir={subjects} lacks mmlu/dev.jsonl"
    )


def test_a_subject_without_rows_is_named(subjects):
    write_rows(subjects / "mmlu" / "test.jsonl", [{"question": "?", "subject": "anatomy"}])
    (subjects / "mmlu" / "test.jsonl.gz").write_bytes(gzip.compress((subjects / "mmlu" / "test.jsonl").read_bytes()))
    with pytest.raises(ValueError, match=r"^mmlu: .*test\.jsonl\.gz holds no row with subject virology$"):
        origin.source("mmlu", subjects)


def test_a_missing_file_names_itself_and_its_rows(tmp_path):
    for name, file in (
        ("mmlu", "mmlu/test.jsonl.gz (14,042 rows)"),
        ("mmlu_anatomy", "mmlu/test.jsonl.gz (14,042 rows)"),
        ("truthfulqa_mc2", "truthfulqa_mc/validation.jsonl (817 rows)"),
        ("lambada_openai", "lambada_openai/test.jsonl.gz (5,153 rows)"),
    ):
        with pytest.raises(ValueError, match=f"^{name}: ") as caught:
            origin.source(name, tmp_path)
        assert f"lacks {file}" in str(caught.value)


def test_the_table_asks_lm_eval_for_the_subjects():
    known = catalogue.layout("mmlu")
    assert known is not None
    assert len(known.parts) == 57
    assert set(known.parts) == set(definitions(DataSource(name="mmlu")))
    for part, actual in definitions(DataSource(name="mmlu")).items():
        leaf = catalogue.layout(part)
        assert leaf is not None
        assert actual.keys["dataset_name"] == leaf.subject


def test_one_task_can_stand_in_a_suite_twice(tmp_path):
    suite = write_suite(tmp_path, {"task": "demo_piqa"}, {"task": "demo_piqa", "shots": 2, "name": "piqa_2"})
    report, search, _ = sourced(suite)
    assert [(spec.name, spec.task, spec.shots) for spec in report] == [
        ("demo_piqa", "demo_piqa", 0),
        ("piqa_2", "demo_piqa", 2),
    ]
    assert [spec.name for spec in search] == ["demo_piqa"]
    actual = tasks.load(tuple(report), tmp_path / "scratch")
    assert [prompt(parts["demo_piqa"]).count("Answer:") for parts in actual.values()] == [1, 3]
    assert report[0].fingerprint_fields() != report[1].model_copy(update={"shots": 0}).fingerprint_fields()


def test_two_columns_of_one_name_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"demo_piqa occurs twice; give each its own `name`$") as caught:
        write_suite(tmp_path, {"task": "demo_piqa"}, {"task": "demo_boolq", "name": "demo_piqa"})
    assert len(str(caught.value).splitlines()) == 1
    with pytest.raises(ValueError, match=r"tasks\.0\.name"):
        write_suite(tmp_path, {"task": "demo_piqa", "name": "a/b"})


def test_examples_come_from_the_training_items_and_repeat(tmp_path):
    spec = TaskSpec(source=origin.source("demo_arc_easy", None), shots=3)
    training = {
        row["question"] for row in tasks.load((spec,), tmp_path, "search")["demo_arc_easy"]["demo_arc_easy"].eval_docs
    }
    [task] = tasks.load((spec,), tmp_path)["demo_arc_easy"].values()
    first = prompt(task)
    shown = [part.removeprefix("Question: ").split("\nAnswer:")[0] for part in first.split("\n\n")]
    assert len(shown) == 4
    assert set(shown[:3]) <= training
    assert shown[3] == task.eval_docs[0]["question"]
    [again] = tasks.load((spec,), tmp_path / "again")["demo_arc_easy"].values()
    assert prompt(again) == first


def test_shots_without_examples_are_refused(tmp_path):
    write_rows(tmp_path / "piqa" / "validation.jsonl", PIQA)
    line = refusal(write_suite(tmp_path, {"task": "piqa", "shots": 2}), tmp_path)
    assert line.startswith("piqa: shots=2 needs examples that are not reported, and no split holds any")
    assert line.endswith("lacks piqa/train.jsonl")
    write_rows(tmp_path / "piqa" / "train.jsonl", PIQA)
    [spec], _, _ = sourced(write_suite(tmp_path, {"task": "piqa", "shots": 2}), tmp_path)
    assert spec.shots == 2


def test_a_validation_split_serves_as_examples_where_the_test_split_is_reported(tmp_path):
    rows = [
        {
            "id": str(index),
            "question": f"What {index}?",
            "choices": {"text": ["a", "b"], "label": ["A", "B"]},
            "answerKey": "A",
        }
        for index in range(6)
    ]
    write_rows(tmp_path / "arc_easy" / "test.jsonl", rows[:3])
    write_rows(tmp_path / "arc_easy" / "validation.jsonl", rows[3:])
    [spec], [search], _ = sourced(write_suite(tmp_path, {"task": "arc_easy", "shots": 2}), tmp_path)
    assert not tasks.searchable(search)
    [task] = tasks.load((spec,), tmp_path / "scratch")["arc_easy"].values()
    assert not any(f"What {index}?" in prompt(task, 0) for index in (1, 2))


@pytest.mark.parametrize(
    ("task", "metric", "listed"),
    [
        ("demo_piqa", "accc", "acc, acc_norm"),
        ("demo_boolq", "word_perplexity", "acc, acc_norm"),
        ("wikitext", "acc", "word_perplexity, byte_perplexity, bits_per_byte"),
        ("wikitext2_token", "word_perplexity", "token_perplexity"),
        ("lambada_openai", "acc_norm", "perplexity, acc"),
        ("truthfulqa_mc2", "acc_norm", "acc"),
    ],
)
def test_a_metric_that_a_task_lacks_is_refused_with_those_it_has(tmp_path, task, metric, listed):
    write_rows(tmp_path / "wikitext2" / "test.jsonl", [{"page": "one page"}])
    write_rows(tmp_path / "lambada_openai" / "test.jsonl.gz", [])
    write_rows(tmp_path / "truthfulqa_mc" / "validation.jsonl", [{"question": "?"}])
    (tmp_path / "lambada_openai" / "test.jsonl.gz").write_bytes(b"")
    line = refusal(write_suite(tmp_path, {"task": task, "metric": metric}), tmp_path)
    assert line == f"{task}: metric {metric} is none of its metrics ({listed})"


def test_without_a_metric_it_is_accuracy_or_the_first(tmp_path):
    write_rows(tmp_path / "wikitext2" / "test.jsonl", [{"page": "one page"}])
    write_rows(tmp_path / "truthfulqa_mc" / "validation.jsonl", [{"question": "?"}])
    names = ("demo_hellaswag", "wikitext", "wikitext2_token", "truthfulqa_mc1")
    report, _, _ = sourced(write_suite(tmp_path, *({"task": name} for name in names)), tmp_path)
    assert [spec.metric for spec in report] == ["acc", "word_perplexity", "token_perplexity", "acc"]


@pytest.mark.parametrize(
    ("entry", "aggregation"),
    [
        ({"metric": "mcc"}, "that of mcc"),
        ({"metric": "f1", "aggregation": "f1"}, "f1"),
        ({"metric": "acc", "aggregation": "!function utils.macro"}, "utils.macro"),
    ],
)
def test_a_metric_that_is_no_mean_over_items_is_refused(tmp_path, entry, aggregation):
    quiz(
        tmp_path,
        QUIZ.split("metric_list")[0]
        + f"metric_list: [{json.dumps(entry)}]\n".replace('"!function utils.macro"', "!function utils.macro"),
    )
    (tmp_path / "utils.py").write_text("def macro(items):\n    return 0.0\n")
    line = refusal(write_suite(tmp_path, {"task": "quiz", "metric": entry["metric"]}))
    assert line.startswith(
        f"quiz: metric {entry['metric']} is aggregated by {aggregation}, which is no mean over items"
    )


def test_a_name_that_nobody_knows_is_refused(tmp_path):
    line = refusal(write_suite(tmp_path, {"task": "arc_eazy"}), tmp_path)
    assert line == "arc_eazy: data_dir has no layout for this task; did you mean arc_easy?"


@pytest.mark.data
def test_every_subject_of_mmlu_has_its_rows(data_dir, tmp_path):
    spec = TaskSpec(source=origin.source("mmlu", data_dir), shots=5)
    parts = tasks.load((spec,), tmp_path)["mmlu"]
    assert len(parts) == 57
    assert sum(len(task.eval_docs) for task in parts.values()) == spec.source.rows == 14042
    for part, task in parts.items():
        assert set(task.eval_docs["subject"]) == {part.removeprefix("mmlu_")}
        assert len(task.sampler.df) == 5
    words = prompt(parts["mmlu_anatomy"])
    assert words.startswith("The following are multiple choice questions (with answers) about anatomy.\n\n")
    assert words.count("Answer:") == 6


@pytest.mark.data
@pytest.mark.parametrize("name", ["truthfulqa_mc1", "truthfulqa_mc2", "lambada_openai", "social_iqa", "wikitext"])
def test_the_further_tasks_load_from_a_mirror(data_dir, tmp_path, name):
    spec = TaskSpec(source=origin.source(name, data_dir))
    [task] = tasks.load((spec,), tmp_path)[name].values()
    known = catalogue.layout(name)
    assert known is not None
    assert len(task.eval_docs) == spec.source.rows == known.rows[known.evaluate]
    assert not tasks.searchable(spec)
    task.build_all_requests(limit=3)
    assert len({instance.doc_id for instance in task.instances}) == 3
