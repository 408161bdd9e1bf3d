"""Suites name tasks that exist, the demo items are what their README says, and a search never sees a reported question."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from harness.data import layout, overlap, suites, tasks, text
from harness.data.layout import DEMO_FORMATS, demo_folder
from harness.evaluation.lm import TreeLM
from harness.nas.fitness import load_items
from harness.spec import TaskSpec

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
}
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


def blank_filled(row: dict) -> set[str]:
    """Return the two sentences of a winogrande item."""
    return {plainly(row["sentence"].replace("_", row[option])) for option in ("option1", "option2")}


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
    assert {"demo", "commonsense", "llama_nas", "parity", "perplexity", "subnetwork11"} <= set(suites.known())


def test_subnetwork11_has_eleven_tasks_and_llama_nas_five():
    assert len(suites.read("subnetwork11").tasks) == 11
    assert {task.task: task.shots for task in suites.read("llama_nas").tasks} == {
        **dict.fromkeys(("arc_easy", "arc_challenge", "truthfulqa_mc1", "winogrande")),
        "mmlu": 5,
    }


@pytest.mark.parametrize("name", suites.known())
def test_a_suite_file_says_where_it_comes_from(name):
    assert (Path(str(demo_folder())) / f"{name}.yaml").read_text().startswith("# ")


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


@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize("name", sorted(set(DEMO_FORMATS) - {"boolq", "winogrande"}))  # their answers are not texts
def test_right_and_wrong_demo_answers_have_similar_lengths(name, split):
    lengths: dict[bool, list[int]] = {True: [], False: []}
    for row in demo(name, split):
        for key, answer in zip(LABELS[name], answers(row), strict=True):
            lengths[key == label(row)].append(len(answer))
    right, wrong = (sum(found) / len(found) for found in (lengths[True], lengths[False]))
    assert right == pytest.approx(wrong, rel=0.1)  # what "similar" means here: one character in ten


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
        ({"name": "x", "tasks": [{"task": "piqa", "metric": 1}]}, "tasks.0.metric", "valid string"),
        ({"name": "x", "tasks": [{"task": "piqa"}] * 2}, "piqa", "occurs twice"),
        ({"name": "x", "tasks": [{"task": "piqa", "shots": -1}]}, "tasks.0.shots", "greater than or equal to 0"),
        ({"name": "x", "tasks": [{"task": "piqa"}], "serch": []}, "serch", "search"),
        ({"name": "x", "tasks": []}, "tasks", "at least 1"),
        ({"tasks": [{"task": "piqa"}]}, "name", "required"),
        ("", "", ""),
        ("name: [", "", ""),
    ],
    ids=["metric", "twice", "shots", "key", "no tasks", "no name", "empty", "no YAML"],
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
    with pytest.raises(ValueError, match=r"^suite=commonsens is unknown; did you mean commonsense\?$"):
        suites.read("commonsens")
    with pytest.raises(ValueError, match=r"mine\.yaml: no such file$"):
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
        f"wikitext2/test.jsonl in data_dir={tmp_path} holds 1 of 62 rows",
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
    """Load a search's items; return the prompts as they go to the tokenizer, without case, and each item's task."""
    model, tokenizer = tiny
    prompts: list[str] = []
    encode = TreeLM._encode_pair

    def listening(self, context: str, continuation: str):
        prompts.append(plainly(context + continuation))
        return encode(self, context, continuation)

    monkeypatch.setattr(TreeLM, "_encode_pair", listening)

    def load(search, report, limit: int = 10**6):
        prompts.clear()
        folder = tmp_path / "scratch"
        found, _ = load_items(search, report, tokenizer, model, folder, limit=limit, held_out=0, seed=0)
        return list(prompts), Counter(item.task for item in found.items)

    return load


def mirror(folder: Path, name: str, train: list[dict]) -> TaskSpec:
    """Write a demo task whose training items are `train`, and return it."""
    place = folder / "demo" / name
    place.mkdir(parents=True)
    for split, rows in (("test", demo(name, "test")), ("train", train)):
        (place / f"{split}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return TaskSpec(source=layout.local_source(f"demo_{name}", folder))


def test_a_demo_search_asks_every_training_question_and_no_reported_one(searched):
    report, search = suites.sources(suites.read("demo"), None, [])
    prompts, counts = searched(search, report)
    assert counts == {f"demo_{name}": 16 for name in DEMO_FORMATS}
    for name in set(DEMO_FORMATS) - {"winogrande"}:
        asked, reported = ([plainly(question(name, row)) for row in demo(name, split)] for split in ("train", "test"))
        assert all(any(words in prompt for prompt in prompts) for words in asked), name
        assert not any(words in prompt for prompt in prompts for words in reported), name
    assert all(blank_filled(row) <= set(prompts) for row in demo("winogrande", "train"))
    assert not any(blank_filled(row) & set(prompts) for row in demo("winogrande", "test"))


@pytest.mark.parametrize("name", ["boolq", "arc_easy", "openbookqa", "winogrande"])
def test_a_reported_item_among_the_training_items_is_left_out(searched, tmp_path, name):
    spec = mirror(tmp_path, name, [*demo(name, "test")[:5], *demo(name, "train")])
    assert searched((spec,), (spec,))[1] == {f"demo_{name}": 16}


def test_a_question_that_another_task_reports_is_left_out_too(searched, tmp_path):
    reported = mirror(tmp_path, "arc_easy", demo("arc_easy", "train"))
    asked = question("arc_easy", demo("arc_easy", "test")[0])
    rows = demo("openbookqa", "train")
    copied = [{**rows[0], "question_stem": asked}, {**rows[1], "question_stem": asked.lower()}, *rows[2:]]
    assert searched((mirror(tmp_path, "openbookqa", copied),), (reported,))[1] == {"demo_openbookqa": 14}


def test_a_search_takes_as_many_items_as_it_is_told_and_the_same_ones_again(searched):
    report, search = suites.sources(suites.read("demo"), None, [])
    first = searched(search, report, limit=3)
    assert first[1] == {f"demo_{name}": 3 for name in DEMO_FORMATS}
    assert searched(search, report, limit=3) == first


def folder_of(name: str, request) -> Path | None:
    """Return where a suite's data lies; only the demo suite ships its own."""
    return None if name == "demo" else request.getfixturevalue("data_dir")


EVERY = [pytest.param(name, marks=[] if name == "demo" else pytest.mark.data) for name in suites.known()]


@pytest.fixture(scope="module")
def asked(tmp_path_factory):
    """Return the questions of reported or searched tasks, by task; each task is loaded once for all suites."""
    kept: dict[tuple[str, str], list[str]] = {}

    def ask(specs, use: str) -> dict[str, list[str]]:
        for spec in specs:
            if (spec.task, use) not in kept:
                report, search = ((spec,), ()) if use == "report" else ((), (spec,))
                found = overlap.asked(report, search, tmp_path_factory.mktemp("asked"))
                kept[spec.task, use] = [words for questions in found.values() for words in questions]
        return {spec.task: kept[spec.task, use] for spec in specs}

    return ask


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.timeout(600)
def test_no_text_of_a_suite_asks_what_it_reports_or_searches(name, request, asked):
    suite, data_dir = suites.read(name), folder_of(name, request)
    report, search = suites.sources(suite, data_dir, [])
    questions = [
        words
        for use, specs in (("report", report), ("search", search))
        for found in asked(specs, use).values()
        for words in found
    ]
    for said in {suite.calibration, suite.training}:
        rows = text.rows(suites.text_source(said, data_dir))
        assert len(rows) >= 200
        assert overlap.holding(rows, questions) == []


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.timeout(600)
def test_no_search_of_a_suite_asks_what_it_reports(name, request, asked, tiny, tmp_path, monkeypatch):
    chosen: dict[str, list[str]] = {}

    def listening(task, samples: list[int]) -> None:  # no prompts: rendering 18,000 takes half a minute
        wanted = task.eval_docs.select(samples)
        chosen[task.config.task] = [overlap.words(tasks.question(task, document)) for document in wanted]
        task._instances = []

    report, search = suites.sources(suites.read(name), folder_of(name, request), [])
    reported = {words for questions in asked(report, "report").values() for words in questions}
    monkeypatch.setattr("lm_eval.api.task.Task.build_all_requests", listening)
    load_items(search, report, tiny[1], tiny[0], tmp_path / "scratch", limit=10**6, held_out=0, seed=0)
    assert len(chosen) >= 3
    for task, questions in chosen.items():
        assert len(questions) >= (16 if name == "demo" else 1000), task
        assert not reported & set(questions), task


@pytest.mark.parametrize("name", EVERY)
def test_no_examples_of_a_task_are_reported(name, request, tmp_path):
    report, _ = suites.sources(suites.read(name), folder_of(name, request), [])
    shown, reported = set(), set()
    for parts in tasks.load(tuple(spec for spec in report if spec.shots), tmp_path).values():
        for task in parts.values():
            own = {overlap.words(tasks.question(task, document)) for document in task.eval_docs}
            examples = {overlap.words(tasks.question(task, document)) for document in task.sampler.df}
            assert not own & examples
            shown, reported = shown | examples, reported | own
    # upstream's own: MMLU's examples of clinical_knowledge and college_medicine are reported items of each other
    assert len(shown & reported) == (5 if name == "llama_nas" else 0)


@pytest.mark.data
def test_the_rows_left_out_of_the_training_text_are_few(data_dir):
    source = suites.text_source("alpaca", data_dir)
    assert len(text.all_rows(source)) - len(text.rows(source)) == len(overlap.LEFT_OUT) == 7


def test_a_row_is_left_out_whatever_its_case_and_answer(monkeypatch):
    row = {"instruction": "Which bird cannot fly at all?", "input": "", "output": "The ostrich."}
    monkeypatch.setattr(overlap, "LEFT_OUT", frozenset({overlap.row_hash(row)}))
    changed = {**row, "instruction": "which  BIRD cannot fly, at all", "output": "Penguins."}
    assert overlap.apart([changed, {**row, "input": "In Europe."}]) == [{**row, "input": "In Europe."}]


def test_a_row_that_holds_a_long_question_is_found_and_a_short_one_is_nothing():
    row = {"instruction": "Answer this.", "input": "Say: which bird CANNOT fly at all?", "output": "Ostrich"}
    for question, held in (
        ("which bird cannot fly at all", True),
        ("which bird cannot fly at", True),
        ("which bird cannot fly", False),  # too short to tell
        ("which bird cannot fly at night", False),
    ):
        assert bool(overlap.holding([row], [question])) is held
    assert overlap.holding([{"text": "say which bird cannot fly at all"}], ["say which bird cannot fly"]) != []


@pytest.mark.data
@pytest.mark.timeout(300)
def test_a_commonsense_search_asks_no_reported_question(tiny, tmp_path, monkeypatch, data_dir):
    chosen: dict[str, list[dict]] = {}

    def listening(
        task, samples: list[int]
    ) -> None:  # the items themselves: rendering 18,000 prompts takes half a minute
        chosen[task.config.task] = task.eval_docs.select(samples).to_list()
        task._instances = []

    monkeypatch.setattr("lm_eval.api.task.Task.build_all_requests", listening)
    report, search = suites.sources(suites.read("commonsense"), data_dir, [])
    load_items(search, report, tiny[1], tiny[0], tmp_path / "scratch", limit=10**6, held_out=0, seed=0)
    assert set(chosen) == {"winogrande", "arc_easy", "arc_challenge", "openbookqa"}  # the others have no training items
    assert all(len(rows) > 1000 for rows in chosen.values())
    sentences = [filled for row in chosen.pop("winogrande") for filled in blank_filled(row)]
    questions = [plainly(question(name, row)) for name, rows in chosen.items() for row in rows]
    answered = {
        plainly(question(name, row)) for name in chosen for row in text.read_jsonl(data_dir / name / "test.jsonl")
    }
    filled = {
        words for row in text.read_jsonl(data_dir / "winogrande" / "validation.jsonl") for words in blank_filled(row)
    }
    assert filled & set(sentences) == set()
    assert answered & set(questions) == set()


def test_held_out_items_are_others_than_a_search_scores(tiny, tmp_path):
    report, search = suites.sources(suites.read("demo"), None, [])
    mine, others = load_items(search, report, tiny[1], tiny[0], tmp_path / "scratch", limit=6, held_out=6, seed=0)
    asked = [{request.context + request.continuation for request in side.requests} for side in (mine, others)]
    for side in (mine, others):
        assert Counter(item.task for item in side.items) == dict.fromkeys((spec.name for spec in search), 6)
    assert not asked[0] & asked[1]
