"""Tasks that lie beside a suite file, and lm-eval's that no table of ours has.

As their definitions say.
"""

from __future__ import annotations

import gzip

import datasets
import pytest
from written_suites import QUIZ, prompt, quiz, refusal, sourced, write_rows, write_suite

from harness.data import catalogue, suites, tasks
from harness.data.definitions import Definition, registered
from harness.nas.fitness import load_items


def test_a_task_beside_the_suite_is_reported_and_searched(tmp_path, tiny):
    quiz(tmp_path)
    [spec], [search], _ = sourced(write_suite(tmp_path, {"task": "quiz", "shots": 1}))
    assert (spec.name, spec.metric, spec.source.rows) == ("quiz", "acc", 2)
    [task] = tasks.load((spec,), tmp_path / "scratch")["quiz"].values()
    assert [row["question"] for row in task.eval_docs] == ["Is 4 even?", "Is 5 even?"]
    assert prompt(task, 1).count("Q: ") == 2
    model, tokenizer = tiny
    actual = load_items((search,), (spec,), tokenizer, model, tmp_path / "search", limit=9, held_out=0, seed=0)
    assert len(actual[0].items) == 3


def test_a_task_beside_the_suite_may_include_and_name_functions(tmp_path):
    head, tail = QUIZ.split("output_type")
    (tmp_path / "base.yaml").write_text("output_type" + tail.replace('"Q: {{question}}\\nA:"', "!function asking.ask"))
    (tmp_path / "asking.py").write_text("def ask(row):\n    return 'Tell: ' + row['question']\n")
    quiz(tmp_path, head + "include: base.yaml\n")
    [spec], _, _ = sourced(write_suite(tmp_path, {"task": "quiz"}))
    [task] = tasks.load((spec,), tmp_path / "scratch")["quiz"].values()
    assert prompt(task) == "Tell: Is 4 even?"


@pytest.mark.parametrize(
    "changed", ["quiz.yaml", "base.yaml", "asking.py", "quiz/train.jsonl", "quiz/validation.jsonl"]
)
def test_a_task_beside_the_suite_is_known_by_all_its_files(tmp_path, changed):
    head, tail = QUIZ.split("output_type")
    (tmp_path / "base.yaml").write_text("output_type" + tail.replace('"Q: {{question}}\\nA:"', "!function asking.ask"))
    (tmp_path / "asking.py").write_text("def ask(row):\n    return row['question']\n")
    quiz(tmp_path, head + "include: base.yaml\n")
    [before], _, _ = sourced(write_suite(tmp_path, {"task": "quiz"}))
    [again], _, _ = sourced(write_suite(tmp_path, {"task": "quiz"}))
    assert before.fingerprint_fields() == again.fingerprint_fields()
    (tmp_path / changed).write_text((tmp_path / changed).read_text() + "\n")
    [after], _, _ = sourced(write_suite(tmp_path, {"task": "quiz"}))
    assert before.fingerprint_fields() != after.fingerprint_fields()


def test_a_task_beside_the_suite_is_not_known_by_its_place(tmp_path):
    fields = []
    for place in ("a", "b"):
        (tmp_path / place).mkdir()
        quiz(tmp_path / place)
        [spec], _, _ = sourced(write_suite(tmp_path / place, {"task": "quiz"}))
        fields.append(spec.fingerprint_fields())
    assert fields[0] == fields[1]


@pytest.mark.parametrize(
    ("kind", "target", "metric"),
    [
        ("loglikelihood", "{{answer}}", "perplexity"),
        ("loglikelihood_rolling", "{{question}}", "word_perplexity"),
        ("generate_until", "{{answer}}", "exact_match"),
    ],
)
def test_a_task_beside_the_suite_may_be_of_any_kind(tmp_path, kind, target, metric):
    lines = [
        *QUIZ.split("output_type")[0].splitlines(),
        f"output_type: {kind}",
        'doc_to_text: "' + ("" if "rolling" in kind else "{{question}}") + '"',
        f'doc_to_target: "{target}"',
    ]
    if kind == "generate_until":
        lines += [
            "generation_kwargs: {until: ['.']}",
            "metric_list: [{metric: exact_match, aggregation: mean, higher_is_better: true}]",
        ]
    quiz(tmp_path, "\n".join(lines))
    [spec], [search], _ = sourced(write_suite(tmp_path, {"task": "quiz", "metric": metric}))
    assert not tasks.searchable(search)
    [task] = tasks.load((spec,), tmp_path / "scratch")["quiz"].values()
    task.build_all_requests()
    assert kind == task.OUTPUT_TYPE
    assert len(task.instances) == 2
    assert len({tasks.question(task, document) for document in task.eval_docs}) == 2


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (QUIZ.replace("task: quiz", "task: other"), "task must be quiz, as the file is named, not other"),
        (QUIZ.replace("train: quiz/train", "train: quiz/absent"), "absent.jsonl, which does not exist"),
        (QUIZ.replace("dataset_kwargs", "more"), "needs dataset_kwargs.data_files"),
        (QUIZ + "include: absent.yaml\n", "absent.yaml, which a task definition includes: no such file"),
        ("task: [", "no YAML"),
        (QUIZ + "include: quiz.yaml\n", "it includes itself"),
        (QUIZ + "metric_list: [{metric: acc_norm}]\n", "metric_list is written twice"),
        (
            QUIZ.replace("{train: quiz/train.jsonl", "{train: a.jsonl, train: quiz/train.jsonl"),
            "train is written twice",
        ),
        (
            QUIZ.replace("metric_list:\n  - metric: acc", "metric_list: acc\nx:\n  - y: z"),
            "metric_list must be a list of mappings",
        ),
        (QUIZ.replace("- metric: acc", "- name: acc"), "metric_list must be a list of mappings with metric in each"),
        (QUIZ + "filter_list: strip\n", "filter_list must be a list of mappings with name in each, not 'strip'"),
        (QUIZ + "generation_kwargs: 7\n", "generation_kwargs must be a mapping, not 7"),
        (
            QUIZ.replace("{train: quiz/train.jsonl, validation: quiz/validation.jsonl}", "5"),
            "data_files must be a file",
        ),
        (QUIZ + "num_fewshot: many\n", "num_fewshot must be a whole number from 0 on, not 'many'"),
        (QUIZ + "num_fewshot: -1\n", "num_fewshot must be a whole number from 0 on, not -1"),
        ("task: quiz\nclass: !function task.Quiz\n", "defined by a Python class"),
    ],
    ids=str,
)
def test_what_is_wrong_in_a_task_beside_the_suite_is_one_line(tmp_path, words, line):
    quiz(tmp_path, words)
    assert line in refusal(write_suite(tmp_path, {"task": "quiz"}))


@pytest.mark.parametrize("name", ["quiz.yaml", "mine.yaml"])
def test_a_file_that_is_no_utf8_text_is_told_by_its_name(tmp_path, name):
    quiz(tmp_path)
    write_suite(tmp_path, {"task": "quiz"})
    (tmp_path / name).write_bytes(b"task: quiz # \xff")
    with pytest.raises(ValueError, match=rf"{name}: no UTF-8 text \(invalid start byte at byte 13\)"):
        suites.sources(suites.read(str(tmp_path / "mine.yaml")), None, [])


def test_a_key_that_is_written_twice_in_a_suite_is_refused(tmp_path):
    quiz(tmp_path)
    (tmp_path / "mine.yaml").write_text("name: m\ntasks:\n  - {task: quiz, task: boolq}\n")
    with pytest.raises(ValueError, match=r"task is written twice in the mapping that begins in line 3"):
        suites.read(str(tmp_path / "mine.yaml"))


def test_a_definitions_own_shots_hold_unless_the_suite_says_otherwise(tmp_path):
    quiz(tmp_path, QUIZ + "num_fewshot: 2\n")
    report, _, _ = sourced(write_suite(tmp_path, {"task": "quiz"}, {"task": "quiz", "name": "none", "shots": 0}))
    assert [spec.shots for spec in report] == [2, 0]


def test_examples_from_the_reported_split_are_told(tmp_path):
    quiz(tmp_path, QUIZ + "fewshot_split: validation\n")
    _, _, notices = sourced(write_suite(tmp_path, {"task": "quiz", "shots": 1}))
    told = "quiz: its examples come from the split that is reported, as lm-eval defines it"
    assert notices == [f"{told}, and an item may be among its own: read its score as an upper bound"]
    quiz(tmp_path, QUIZ.replace("validation_split", "test_split") + "fewshot_split: validation\n")
    assert sourced(write_suite(tmp_path, {"task": "quiz", "shots": 1}))[2] == [told]  # there lm-eval takes the item out


@pytest.mark.parametrize("shots", [5, 10**30])
def test_more_shots_than_examples_are_refused_by_the_plan(tmp_path, shots):
    quiz(tmp_path)
    line = refusal(write_suite(tmp_path, {"task": "quiz", "shots": shots}))
    assert f"quiz: its first item makes no request with shots={shots} of 4 examples" in line
    [spec], _, _ = sourced(write_suite(tmp_path, {"task": "quiz", "shots": 3}))
    assert spec.shots == 3


def test_more_shots_than_a_mirror_has_examples_are_refused_by_the_plan(tmp_path):
    row = {"question": "q", "choices": list("abcd"), "answer": 2, "subject": ""}
    subjects = [leaf.subject for part in catalogue.layout("mmlu").parts if (leaf := catalogue.layout(part))]
    for split, count in (("dev", 2), ("test", 1)):
        path = tmp_path / catalogue.layout("mmlu").files[split]
        write_rows(path, [row | {"subject": subject} for subject in subjects for _ in range(count)])
        if path.suffix == ".gz":
            path.write_bytes(gzip.compress(path.read_bytes()))
    line = refusal(write_suite(tmp_path, {"task": "mmlu", "shots": 3}), tmp_path)
    assert line == f"mmlu: shots=3, but data_dir={tmp_path} has 2 examples to show"
    [spec], _, _ = sourced(write_suite(tmp_path, {"task": "mmlu", "shots": 2}), tmp_path)
    assert spec.shots == 2
    path.write_bytes(path.read_bytes()[:-20])  # a copy that broke off
    assert f"{path} cannot be read (EOFError: " in refusal(write_suite(tmp_path, {"task": "mmlu"}), tmp_path)
    path.write_bytes(b"{}")
    assert f"{path} cannot be read (BadGzipFile: " in refusal(write_suite(tmp_path, {"task": "mmlu"}), tmp_path)


def test_a_group_of_lm_eval_that_the_table_lacks_loads_by_its_name(tmp_path, monkeypatch):
    """Stands for the hub: what is asked for is what lm-eval's definitions name."""

    def arc(path: str, name: str | None = None, **kwargs: object) -> datasets.DatasetDict:
        assert path == "allenai/ai2_arc"
        row = {
            "id": "1",
            "question": f"{name}?",
            "choices": {"text": ["a", "b"], "label": ["A", "B"]},
            "answerKey": "B",
        }
        return datasets.DatasetDict(
            {split: datasets.Dataset.from_list([row] * 2) for split in ("train", "validation", "test")}
        )

    class Builder:
        hash = "revision"

    monkeypatch.setattr("datasets.load_dataset", arc)
    monkeypatch.setattr("datasets.load_dataset_builder", lambda *place: Builder)
    [spec], [search], _ = sourced(
        write_suite(tmp_path, {"task": "ai2_arc", "shots": 1, "metric": "acc_norm"}), tmp_path
    )
    assert spec.source.folder is None
    assert spec.source.content == "allenai/ai2_arc/ARC-Challenge@revision"
    assert tasks.searchable(search)
    actual = tasks.load((spec,), tmp_path / "scratch")
    assert {name: sorted(parts) for name, parts in actual.items()} == {"ai2_arc": ["arc_challenge", "arc_easy"]}
    assert prompt(actual["ai2_arc"]["arc_easy"]).count("Answer:") == 2
    assert len(registered("mmlu")) == 57
    assert {Definition(keys).examples for keys in registered("mmlu").values()} == {"dev"}
