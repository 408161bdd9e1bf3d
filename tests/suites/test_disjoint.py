"""What is reported is never calibrated, trained or searched on, and shows no examples of itself.

Every suite, by words.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
from demo_items import blank_filled, demo, plainly, question

from harness.data import origin, overlap, suites, tasks, text
from harness.data.catalogue import DEMO_FORMATS
from harness.evaluation.lm import TreeLM
from harness.nas.fitness import load_items
from harness.spec import TaskSpec


@pytest.fixture
def searched(tiny, tmp_path, monkeypatch):
    """Load a search's items; return the prompts as the tokenizer gets them, and each item's task.

    The prompts are without case.
    """
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
        actual, _ = load_items(search, report, tokenizer, model, folder, limit=limit, held_out=0, seed=0)
        return list(prompts), Counter(item.task for item in actual.items)

    return load


def mirror(folder: Path, name: str, train: list[dict]) -> TaskSpec:
    """Write a demo task whose training items are `train`, and return it."""
    place = folder / "demo" / name
    place.mkdir(parents=True)
    for split, rows in (("test", demo(name, "test")), ("train", train)):
        (place / f"{split}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return TaskSpec(source=origin.local_source(f"demo_{name}", folder))


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
def tasks_made_once(tmp_path_factory):
    """Suites share tasks: each is loaded from its files once for all of them.

    Only for tests that build no prompts of them.
    """
    load, kept = tasks._load, {}

    def once(spec: TaskSpec, place: Path, split: str):
        key = (repr(spec), split)
        if key not in kept:
            kept[key] = load(spec, tmp_path_factory.mktemp("task"), split)
        return kept[key]

    return once


@pytest.fixture
def loaded_once(tasks_made_once, monkeypatch):
    monkeypatch.setattr(tasks, "_load", tasks_made_once)


@pytest.fixture(scope="module")
def asked(tmp_path_factory):
    """Return the questions of reported or searched tasks, by task.

    Each task is loaded once for all suites.
    """
    kept: dict[tuple[str, str], list[str]] = {}

    def ask(specs, use: str) -> dict[str, list[str]]:
        for spec in specs:
            if (spec.task, use) not in kept:
                report, search = ((spec,), ()) if use == "report" else ((), (spec,))
                actual = overlap.asked(report, search, tmp_path_factory.mktemp("asked"))
                kept[spec.task, use] = [words for questions in actual.values() for words in questions]
        return {spec.task: kept[spec.task, use] for spec in specs}

    return ask


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.timeout(600)
@pytest.mark.usefixtures("loaded_once")
def test_no_text_of_a_suite_asks_what_it_reports_or_searches(name, request, asked):
    suite, data_dir = suites.read(name), folder_of(name, request)
    report, search = suites.sources(suite, data_dir, [])
    questions = [
        words
        for use, specs in (("report", report), ("search", search))
        for actual in asked(specs, use).values()
        for words in actual
    ]
    for said in {suite.calibration, suite.training}:
        rows = text.rows(suites.text_source(said, data_dir))
        assert len(rows) >= 200
        assert overlap.holding(rows, questions) == []


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.timeout(600)
@pytest.mark.usefixtures("loaded_once")
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
    for words, held in (
        ("which bird cannot fly at all", True),
        ("which bird cannot fly at", True),
        ("which bird cannot fly", False),  # too short to tell
        ("which bird cannot fly at night", False),
    ):
        assert bool(overlap.holding([row], [words])) is held
    assert overlap.holding([{"text": "say which bird cannot fly at all"}], ["say which bird cannot fly"]) != []


@pytest.mark.data
@pytest.mark.timeout(300)
@pytest.mark.usefixtures("loaded_once")
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
