"""A mirror that is exported serves the same documents, and is written once.

It is whole or says what it lacks.
"""

from __future__ import annotations

import json
from pathlib import Path

import datasets
import pytest

from harness.command.all_verbs import find
from harness.data import catalogue, export, suites, tasks, text
from harness.data import origin as origin_of
from harness.data.mirror import read_jsonl
from harness.spec import DataSource, TaskSpec

datasets.disable_progress_bars()

ARC = {
    "id": "1",
    "question": "Who barks?",
    "choices": {"text": ["a dog", "a rök"], "label": ["A", "B"]},
    "answerKey": "A",
}
ROWS = {
    "allenai/ai2_arc": ARC,
    "Rowan/hellaswag": {
        "ind": 4,
        "activity_label": "Baking",
        "ctx_a": "A man bakes.",
        "ctx_b": "he",
        "ctx": "A man bakes. he",
        "endings": ["eats.", "sleeps.", "flies.", "sings."],
        "label": "0",
    },
    "truthfulqa/truthful_qa": {
        "question": "Is it so?",
        "mc1_targets": {"choices": ["Yes", "No"], "labels": [1, 0]},
        "mc2_targets": {"choices": ["Yes", "Sure", "No"], "labels": [1, 1, 0]},
    },
    "cais/mmlu": {"question": "Which?", "subject": "", "choices": list("abcd"), "answer": 2},
    "allenai/winogrande": {"sentence": "Ann met Eve and _ waved.", "option1": "Ann", "option2": "Eve", "answer": "1"},
    "EleutherAI/wikitext_document_level": {"page": " = Title = \n\n Some words . \n"},
    "Salesforce/wikitext": {"text": " Some words . \n"},
    "yahma/alpaca-cleaned": {"instruction": "Say yes.", "input": "", "output": "Yes."},
}
SPLITS = {"cais/mmlu": ("test", "dev"), "allenai/ai2_arc": ("train", "validation", "test")}


def data(words):
    verb, rest = find(["data", *words])
    return verb.parse(rest)()


@pytest.fixture
def hub(monkeypatch) -> list[tuple[str, str | None]]:
    """Answer for the hub: two rows a split, each saying its configuration; returns what was asked for."""
    asked: list[tuple[str, str | None]] = []
    real = datasets.load_dataset

    def answer(path: str, name: str | None = None, split: str | None = None, **more: object) -> object:
        if path == "json":
            return real(path, name, split=split, **more)
        asked.append((path, name))
        if path not in ROWS:
            raise ConnectionError(f"no {path}")
        first = {key: f"{value} {name}" if key == "question" else value for key, value in ROWS[path].items()}
        blank = {**first, "text": " \n"} if "text" in first else first
        splits = SPLITS.get(path, ("train", "validation", "test"))
        actual = datasets.DatasetDict({each: datasets.Dataset.from_list([first, blank]) for each in splits})
        return actual[split] if split else actual

    monkeypatch.setattr("datasets.load_dataset", answer)
    monkeypatch.setattr("harness.data.hub.settle", lambda: True)
    monkeypatch.delenv("HARNESS_DATA_DIR", raising=False)
    return asked


def exported(capsys, *words: str) -> list[str]:
    assert data(["export", *words]) == 0
    return capsys.readouterr().out.splitlines()


def documents(name: str, folder: Path | None, scratch: Path) -> dict[str, list[dict]]:
    spec = TaskSpec(source=origin_of.source(name, folder) if folder else DataSource(name=name))
    return {part: task.eval_docs.to_list() for part, task in tasks.load((spec,), scratch)[name].items()}


@pytest.mark.parametrize(
    "name", ["arc_easy", "hellaswag", "truthfulqa_mc1", "truthfulqa_mc2", "winogrande", "mmlu_virology"]
)
def test_what_the_hub_holds_reads_the_same_from_its_mirror(hub, tmp_path, name):
    suite = suites.Suite(name="x", tasks=[suites.SuiteTask(task=name)])
    list(export.export(export.files(suite, [name])[0], tmp_path / "mirror", None))
    fields = set(ROWS["Rowan/hellaswag"]) - {"ind"} if name == "hellaswag" else None
    mirrored = documents(name, tmp_path / "mirror", tmp_path / "a")[name]
    direct = documents(name, None, tmp_path / "b")[name]
    if name == "mmlu_virology":
        direct = [{**row, "subject": "virology"} for row in direct]  # the hub's rows of this test name none
    assert [{key: row[key] for key in fields or row} for row in mirrored] == [
        {key: row[key] for key in fields or row} for row in direct
    ]
    assert mirrored != []


def test_the_subjects_lie_in_one_file_each_row_with_its_own(hub, tmp_path, capsys):
    lines = exported(capsys, "suite=llama_nas", "tasks=mmlu", f"to={tmp_path}")
    assert lines == [
        "mmlu/test.jsonl.gz: 114 rows, 14,042 rows expected",
        "mmlu/dev.jsonl: 114 rows, 285 rows expected",
    ]
    rows = list(read_jsonl(tmp_path / "mmlu" / "test.jsonl.gz"))
    known = catalogue.layout("mmlu")
    assert known is not None
    assert {f"mmlu_{row['subject']}" for row in rows} == set(known.parts)
    assert all(row["question"] == f"Which? {row['subject']}" for row in rows)
    assert ("cais/mmlu", "virology") in hub
    assert len(documents("mmlu", tmp_path, tmp_path / "scratch")) == 57


def test_the_training_items_of_winogrande_are_those_of_the_mirrors_size(hub, tmp_path, capsys):
    exported(capsys, "suite=commonsense", "tasks=winogrande", f"to={tmp_path}")
    assert ("allenai/winogrande", "winogrande_l") in hub
    assert ("allenai/winogrande", "winogrande_xl") in hub


def test_texts_are_mirrored_as_they_are_read(hub, tmp_path, capsys):
    exported(capsys, "suite=perplexity", "tasks=wikitext2,alpaca,wikitext2_token", f"to={tmp_path}")
    for name in ("wikitext2", "alpaca", "wikitext2_token"):
        direct = text.documents(DataSource(name=name))
        assert text.documents(origin_of.source(name, tmp_path)) == direct != []
    assert list(read_jsonl(tmp_path / "wikitext2" / "test.jsonl")) == [ROWS["EleutherAI/wikitext_document_level"]] * 2


def test_an_export_writes_the_same_bytes_again(hub, tmp_path, capsys):
    for place in ("a", "b"):
        exported(capsys, "suite=llama_nas", "tasks=mmlu", f"to={tmp_path / place}")
    for file in ("test.jsonl.gz", "dev.jsonl"):
        assert (tmp_path / "a" / "mmlu" / file).read_bytes() == (tmp_path / "b" / "mmlu" / file).read_bytes()


def test_data_that_nobody_has_is_refused_after_the_rest_is_written(hub, tmp_path, capsys, monkeypatch):
    monkeypatch.delitem(ROWS, "Rowan/hellaswag")
    with pytest.raises(ValueError, match=r"^hellaswag: hellaswag/validation\.jsonl\.gz is out of reach") as caught:
        data(["export", "suite=commonsense", "tasks=[hellaswag,arc_easy]", f"to={tmp_path}"])
    assert "tried the hub and the local cache; data_dir=FOLDER copies from a mirror" in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
    assert (tmp_path / "arc_easy" / "test.jsonl").is_file()
    assert not (tmp_path / "hellaswag").exists()
    assert "hellaswag/validation.jsonl.gz: not to be had" in capsys.readouterr().out


def small_mirror(folder: Path, count: int = 3) -> Path:
    for split in ("train", "test"):
        path = folder / "arc_easy" / f"{split}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(json.dumps({**ARC, "id": f"{split} {index}"}) + "\n" for index in range(count)))
    return folder


@pytest.fixture
def small(monkeypatch) -> None:
    """Let three rows be all that arc_easy has."""
    whole = catalogue.Layout(
        "arc/arc_easy.yaml",
        {split: f"arc_easy/{split}.jsonl" for split in ("train", "validation", "test")},
        dict.fromkeys(("train", "validation", "test"), 3),
        evaluate="test",
    )
    monkeypatch.setitem(catalogue.TASKS, "arc_easy", whole)


def test_a_copy_has_the_same_bytes_and_content(small, tmp_path, capsys):
    origin = small_mirror(tmp_path / "a")
    words = ("suite=commonsense", "tasks=arc_easy", f"data_dir={origin}", f"to={tmp_path / 'b'}")
    assert exported(capsys, *words) == [
        "arc_easy/train.jsonl: 3 rows, written",
        f"arc_easy/validation.jsonl: left out: arc_easy: data_dir={origin} lacks arc_easy/validation.jsonl",
        "arc_easy/test.jsonl: 3 rows, written",
    ]
    assert origin_of.source("arc_easy", origin).content == origin_of.source("arc_easy", tmp_path / "b").content
    assert not list(tmp_path.rglob("*draft*"))


def test_what_is_complete_is_not_written_again(small, tmp_path, capsys):
    origin, goal = small_mirror(tmp_path / "a"), tmp_path / "b"
    words = ("suite=commonsense", "tasks=arc_easy", f"data_dir={origin}", f"to={goal}")
    exported(capsys, *words)
    before = {path: path.stat().st_mtime_ns for path in goal.rglob("*.jsonl")}
    (goal / "arc_easy" / "train.jsonl").write_text("{}\n")  # cut short
    lines = exported(capsys, *words)
    assert lines[0].startswith("arc_easy/train.jsonl: 3 rows, written; what was there lies in train.jsonl.before-")
    [before_it] = (goal / "arc_easy").glob("train.jsonl.before-*")  # it may be somebody's own: never lost
    assert before_it.name in lines[0]
    assert before_it.read_text() == "{}\n"
    assert lines[2] == "arc_easy/test.jsonl: 3 rows, is there already"
    assert (goal / "arc_easy" / "test.jsonl").stat().st_mtime_ns == before[goal / "arc_easy" / "test.jsonl"]


def test_an_interrupted_copy_leaves_no_file(small, tmp_path, monkeypatch):
    origin = small_mirror(tmp_path / "a")

    def broken(source: Path, goal: Path) -> None:
        goal.write_text("half")
        raise KeyboardInterrupt

    monkeypatch.setattr("shutil.copyfile", broken)
    with pytest.raises(KeyboardInterrupt):
        data(["export", "suite=commonsense", "tasks=arc_easy", f"data_dir={origin}", f"to={tmp_path / 'b'}"])
    assert not [path for path in (tmp_path / "b").rglob("*") if path.is_file()]


def test_a_check_tells_gaps_by_its_exit_code(small, tmp_path, capsys):
    folder = small_mirror(tmp_path)
    words = ["check", "suite=commonsense", "tasks=arc_easy", f"data_dir={folder}"]
    assert data(words) == 0
    assert capsys.readouterr().out.splitlines() == [
        "arc_easy/train.jsonl: 3 of 3 rows, complete",
        "arc_easy/validation.jsonl: 0 of 3 rows, absent, but not needed to report",
        "arc_easy/test.jsonl: 3 of 3 rows, complete",
    ]
    small_mirror(tmp_path, count=2)
    assert data(words) == 1
    assert "arc_easy/test.jsonl: 2 of 3 rows, incomplete" in capsys.readouterr().out
    (folder / "arc_easy" / "test.jsonl").unlink()
    assert data(words) == 1
    assert "arc_easy/test.jsonl: 0 of 3 rows, missing" in capsys.readouterr().out


def test_what_is_shipped_needs_no_mirror(tmp_path, capsys):
    lines = exported(capsys, "suite=demo", f"to={tmp_path}")
    assert len(lines) == 8
    assert all(line.endswith(": shipped with the project") for line in lines)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ([], "harness data needs one of the words check, export, overlap"),
        (["exprt"], "harness data exprt is unknown; did you mean export"),
        (["export", "suite=demo"], "harness data export needs to=: folder to write into"),
        (["check"], "harness data check needs suite=: a suite"),
        (["check", "suite=demo", "to=x"], "key to is unknown"),
        (["check", "suite=demo", "data_dir=/no/such"], "data_dir=/no/such: no such folder"),
        (
            ["export", "suite=demo", "to=x", "tasks=demo_pika"],
            "demo_pika is no task or text of suite demo; did you mean demo_piqa",
        ),
    ],
)
def test_wrong_words_are_one_line(words, line, monkeypatch):
    monkeypatch.delenv("HARNESS_DATA_DIR", raising=False)
    with pytest.raises(ValueError, match=".") as caught:
        data(words)
    assert str(caught.value).startswith(line)
    assert len(str(caught.value).splitlines()) == 1


def test_a_row_that_asks_what_is_reported_is_told(tmp_path, capsys, monkeypatch):
    assert data(["overlap", "suite=demo"]) == 0
    assert capsys.readouterr().out == "0 rows hold a question of 5 words or more\n"
    asked = next(read_jsonl(origin_of.demo_folder() / "demo" / "piqa" / "test.jsonl"))["goal"]
    leaking = {"instruction": f"Tell me: {asked}!", "input": "", "output": "no"}
    monkeypatch.setattr("harness.data.text.all_rows", lambda source: [leaking])
    assert data(["overlap", "suite=demo"]) == 1
    assert "holds what demo_piqa reports" in capsys.readouterr().out


@pytest.mark.data
def test_a_copied_suite_serves_the_same_documents(data_dir, tmp_path, capsys):
    exported(capsys, "suite=commonsense", f"data_dir={data_dir}", f"to={tmp_path / 'copy'}")
    suite = suites.read("commonsense")
    pairs = zip(*(suites.sources(suite, folder, [])[0] for folder in (data_dir, tmp_path / "copy")), strict=True)
    for one, other in pairs:
        assert one.fingerprint_fields() == other.fingerprint_fields()
        first, second = (
            tasks.load((spec,), tmp_path / place)[spec.name][spec.task].eval_docs.to_list()
            for spec, place in ((one, "a"), (other, "b"))
        )
        assert first == second != []
    assert data(["check", "suite=commonsense", f"data_dir={tmp_path / 'copy'}"]) == 0
