"""Suites name tasks that exist, the demo items are what their README says, and a search never sees a reported question."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from harness.data import layout, suites, text
from harness.data.layout import DEMO_FORMATS, demo_folder
from harness.evaluation.scorer import TreeLM
from harness.nas.fitness import load_items

FIELDS = {
    "boolq": {"passage", "question", "idx", "label"},
    "piqa": {"goal", "sol1", "sol2", "label"},
    "hellaswag": {"activity_label", "ctx_a", "ctx_b", "ctx", "endings", "label"},
    "winogrande": {"sentence", "option1", "option2", "answer"},
    "arc_easy": {"id", "question", "choices", "answerKey"},
    "arc_challenge": {"id", "question", "choices", "answerKey"},
    "openbookqa": {"id", "question_stem", "choices", "answerKey"},
}
QUESTION = {
    "boolq": "passage",
    "piqa": "goal",
    "hellaswag": "ctx",
    "winogrande": "sentence",
    "openbookqa": "question_stem",
}  # else question
LABELS = {
    "boolq": [0, 1],
    "piqa": [0, 1],
    "hellaswag": ["0", "1", "2", "3"],
    "winogrande": ["1", "2"],
    "arc_easy": ["A", "B", "C", "D"],
    "arc_challenge": ["A", "B", "C", "D"],
    "openbookqa": ["A", "B", "C", "D"],
}


def demo(name: str, split: str) -> list[dict]:
    return list(text.read_jsonl(demo_folder() / "demo" / name / f"{split}.jsonl"))


def label(row: dict) -> str | int:
    return next(row[field] for field in ("label", "answer", "answerKey") if field in row)


def question(name: str, row: dict) -> str:
    return row[QUESTION.get(name, "question")]


def plainly(words: str) -> str:
    """Return the text without case and spacing."""
    return " ".join(words.casefold().split())


def answers(row: dict) -> list[str]:
    if "choices" in row:
        return row["choices"]["text"]
    return row.get("endings") or [row[field] for field in ("sol1", "sol2", "option1", "option2") if field in row]


@pytest.mark.parametrize("name", suites.known())
def test_a_shipped_suite_names_what_exists(name):
    suite = suites.read(name)
    assert suite.name == name
    assert all(layout.layout(task) is not None for task in [*(task.task for task in suite.tasks), *suite.search])
    assert {suite.calibration, suite.training} <= set(layout.TEXT)


def test_the_shipped_suites_are_found():
    assert {"demo", "commonsense", "perplexity"} <= set(suites.known())


def test_the_demo_suite_has_the_metrics_of_the_suite_it_stands_for():
    shown, stands_for = (
        {task.task.removeprefix("demo_"): task.metric for task in suites.read(name).tasks}
        for name in ("demo", "commonsense")
    )
    assert shown == stands_for
    assert set(shown) == set(DEMO_FORMATS)


@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize("name", DEMO_FORMATS)
def test_demo_items_have_the_documented_fields(name, split):
    for row in demo(name, split):
        assert set(row) == FIELDS[name]
        assert label(row) in LABELS[name]
        assert type(label(row)) is type(LABELS[name][0])
        if "choices" in row:
            assert row["choices"]["label"] == LABELS[name]
        choices = answers(row)
        assert len(choices) == (len(LABELS[name]) if name != "boolq" else 0)
        assert len({plainly(choice) for choice in choices}) == len(choices)
        assert all(choice.strip() == choice and choice for choice in [*choices, question(name, row)])


@pytest.mark.parametrize("name", DEMO_FORMATS)
def test_demo_items_are_enough_and_balanced_exactly(name):
    assert len(demo(name, "test")) >= 25
    for split in ("train", "test"):
        counts = Counter(label(row) for row in demo(name, split))
        assert set(counts) == set(LABELS[name])
        assert len(set(counts.values())) == 1


def test_the_documented_counts_hold():
    assert {len(demo(name, "test")) for name in DEMO_FORMATS} == {32}
    assert {len(demo(name, "train")) for name in DEMO_FORMATS} == {16}
    rows = list(text.read_jsonl(demo_folder() / "demo" / "instructions.jsonl"))
    assert len(rows) == 200
    assert all(set(row) == {"instruction", "input", "output"} and row["output"].strip() for row in rows)


def test_no_demo_item_occurs_twice_within_or_across_splits_and_formats():
    seen = Counter(
        plainly(f"{question(name, row)} {row['question'] if name == 'boolq' else ''}")
        for name in DEMO_FORMATS
        for split in ("train", "test")
        for row in demo(name, split)
    )
    assert [words for words, count in seen.items() if count > 1] == []


def test_a_right_answer_is_not_told_by_its_length():
    for name in set(DEMO_FORMATS) - {"boolq", "winogrande"}:  # winogrande's answers are names inside one sentence
        longest = shortest = 0.0
        rows = demo(name, "test")
        for row in rows:
            lengths = [len(answer) for answer in answers(row)]
            right = lengths[LABELS[name].index(label(row))]
            longest += (right == max(lengths)) / lengths.count(max(lengths))
            shortest += (right == min(lengths)) / lengths.count(min(lengths))
        chance = len(rows) / len(LABELS[name])
        spread = (chance * (1 - 1 / len(LABELS[name]))) ** 0.5
        # guessing by length must do no better than chance does in 999 of 1000 sets: three sigma
        assert max(longest, shortest) < chance + 3 * spread, name


@pytest.mark.parametrize("split", ["train", "test"])
def test_a_winogrande_sentence_has_one_blank_and_names_both_options(split):
    for row in demo("winogrande", split):
        assert row["sentence"].count("_") == 1
        assert all(row[option].casefold() in row["sentence"].casefold() for option in ("option1", "option2"))


def test_calibration_text_contains_no_reported_demo_item():
    documents = [plainly(document) for document in text.documents(layout.source("demo_instructions", None))]
    assert len(documents) == 200
    for name in DEMO_FORMATS:
        for row in demo(name, "test"):
            asked = plainly(question(name, row))
            pieces = asked.split("_") if name == "winogrande" else [asked]  # the longer side of the blank
            assert not any(max(pieces, key=len).strip() in document for document in documents), row


def suite_file(place: Path, content: object) -> str:
    path = place / "mine.yaml"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return str(path)


def test_a_users_suite_is_read_from_its_path(tmp_path):
    path = suite_file(
        tmp_path, "name: mine\ntasks:\n  - {task: demo_piqa, metric: acc_norm, shots: 2}\nsearch: [demo_arc_easy]\n"
    )
    suite = suites.read(path)
    report, search = suites.sources(suite, None, [])
    assert [(spec.name, spec.metric, spec.shots) for spec in report] == [("demo_piqa", "acc_norm", 2)]
    assert [spec.name for spec in search] == ["demo_arc_easy"]
    assert (suite.calibration, suite.training) == ("wikitext2", "alpaca")


@pytest.mark.parametrize(
    ("content", "where", "what"),
    [
        ({"name": "x", "tasks": [{"task": "piqa", "metric": "accc"}]}, "tasks.0.metric", "'acc', 'acc_norm'"),
        ({"name": "x", "tasks": [{"task": "piqa", "shots": -1}]}, "tasks.0.shots", "greater than or equal to 0"),
        ({"name": "x", "tasks": [{"task": "piqa"}], "serch": []}, "serch", "search"),
        ({"name": "x", "tasks": []}, "tasks", "at least 1"),
        ({"tasks": [{"task": "piqa"}]}, "name", "required"),
        ("", "", ""),
        ("name: [", "", ""),
    ],
    ids=["metric", "shots", "key", "no tasks", "no name", "empty", "no YAML"],
)
def test_what_is_wrong_in_a_suite_file_is_one_line_that_names_file_and_field(tmp_path, content, where, what):
    path = suite_file(tmp_path, content)
    with pytest.raises(ValueError, match="suite") as caught:
        suites.read(path)
    [line] = str(caught.value).splitlines()
    assert path in line
    assert where in line
    assert what in line
    assert "pydantic" not in line


def test_an_unknown_suite_names_the_nearest_and_a_missing_file_itself(tmp_path):
    with pytest.raises(ValueError, match="^suite=commonsens is unknown; did you mean commonsense\\?$"):
        suites.read("commonsens")
    with pytest.raises(ValueError, match="mine.yaml: no such file$"):
        suites.read(f"{tmp_path}/mine.yaml")


def test_an_optional_task_without_data_is_left_out_with_a_notice(tmp_path):
    (tmp_path / "wikitext2").mkdir()
    (tmp_path / "wikitext2" / "test.jsonl").write_text('{"page": "one page"}\n')
    notices: list[str] = []
    report, search = suites.sources(suites.read("perplexity"), tmp_path, notices)
    assert [spec.name for spec in report] == ["wikitext", "wikitext2_token"]
    assert search == ()
    assert [notice.split(":")[0] for notice in notices] == [
        "ptb_token",
        *(f"search leaves out {name}" for name in ("arc_easy", "arc_challenge", "openbookqa", "winogrande")),
    ]


def test_all_missing_data_is_told_at_once(tmp_path):
    with pytest.raises(ValueError, match="lacks") as caught:
        suites.sources(suites.read("commonsense"), tmp_path, [])
    assert len(str(caught.value).splitlines()) == 7


def test_data_is_known_by_its_bytes_and_not_by_its_place(tmp_path):
    for place, goal in (("a", "Warm up."), ("b", "Warm up."), ("c", "Cool down.")):
        (tmp_path / place / "piqa").mkdir(parents=True)
        (tmp_path / place / "piqa" / "validation.jsonl").write_text(json.dumps({"goal": goal}) + "\n\n")
    a, b, c = (layout.source("piqa", tmp_path / place) for place in "abc")
    assert a.fingerprint_fields() == b.fingerprint_fields() != c.fingerprint_fields()
    assert a.rows == 1


@pytest.fixture
def searched(tiny, tmp_path, monkeypatch):
    """Load a search's items and return the prompts they ask, as they go to the tokenizer, with the set itself."""
    model, tokenizer = tiny
    prompts: list[str] = []
    encode = TreeLM._encode_pair

    def listening(self, context: str, continuation: str):
        prompts.append(context + continuation)
        return encode(self, context, continuation)

    monkeypatch.setattr(TreeLM, "_encode_pair", listening)
    monkeypatch.setattr("harness.evaluation.trie.pack", lambda requests: [])  # only which items are asked matters here

    def load(search, report, limit: int = 10**6):
        found = load_items(search, report, tokenizer, model, tmp_path / "scratch", limit=limit, seed=0)
        return prompts, found

    return load


def test_a_demo_search_asks_training_questions_and_no_reported_one(searched):
    report, search = suites.sources(suites.read("demo"), None, [])
    prompts, found = searched(search, report)
    assert Counter(found.tasks) == {f"demo_{name}": 16 for name in DEMO_FORMATS}
    asked = [plainly(prompt) for prompt in prompts]
    for name in set(DEMO_FORMATS) - {"winogrande"}:
        assert all(any(plainly(question(name, row)) in prompt for prompt in asked) for row in demo(name, "train")), name
        assert not any(plainly(question(name, row)) in prompt for prompt in asked for row in demo(name, "test")), name
    for split, present in (("train", True), ("test", False)):
        for row in demo("winogrande", split):
            filled = plainly(row["sentence"].replace("_", row["option1"]))
            assert (filled in asked) is present


def test_a_reported_question_among_the_training_items_is_left_out(searched, tmp_path):
    for name in ("arc_easy", "winogrande"):
        folder = tmp_path / "demo" / name
        folder.mkdir(parents=True)
        test, train = demo(name, "test"), demo(name, "train")
        (folder / "test.jsonl").write_text("\n".join(map(json.dumps, test)))
        (folder / "train.jsonl").write_text("\n".join(map(json.dumps, [*test[:5], *train])))
    (tmp_path / "demo" / "openbookqa").mkdir()  # and across tasks: another task reports the question
    for split in ("test", "train"):
        rows = demo("openbookqa", split)
        (tmp_path / "demo" / "openbookqa" / f"{split}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    specs = tuple(
        suites.TaskSpec(source=layout.local_source(f"demo_{name}", tmp_path))
        for name in ("arc_easy", "winogrande", "openbookqa")
    )
    _, found = searched(specs, specs)
    assert Counter(found.tasks) == {"demo_arc_easy": 16, "demo_winogrande": 16, "demo_openbookqa": 16}


def test_a_search_takes_as_many_items_as_it_is_told_and_the_same_ones_again(searched):
    report, search = suites.sources(suites.read("demo"), None, [])
    prompts, found = searched(search, report, limit=3)
    assert Counter(found.tasks) == {f"demo_{name}": 3 for name in DEMO_FORMATS}
    first = prompts.copy()
    prompts.clear()
    assert searched(search, report, limit=3)[0] == first


@pytest.mark.data
def test_a_commonsense_search_asks_no_reported_question(searched, data_dir):
    notices: list[str] = []
    report, search = suites.sources(suites.read("commonsense"), data_dir, notices)
    prompts, found = searched(search, report)
    assert set(found.tasks) == {
        "winogrande",
        "arc_easy",
        "arc_challenge",
        "openbookqa",
    }  # the others have no training items
    reported = {}
    for name in ("arc_easy", "arc_challenge", "openbookqa"):
        rows = text.read_jsonl(data_dir / name / "test.jsonl")
        reported |= {plainly(question(name, row)): name for row in rows}
    for row in text.read_jsonl(data_dir / "winogrande" / "validation.jsonl"):
        reported |= {
            plainly(row["sentence"].replace("_", row[option])): "winogrande" for option in ("option1", "option2")
        }
    frames = ("question: ", "")
    print(len(prompts), len(reported))
