"""Suites, rows and a task definition that tests write for themselves."""

from __future__ import annotations

import json
from pathlib import Path

import datasets
import pytest

from harness.data import suites
from harness.spec import TaskSpec

datasets.disable_progress_bars()

QUIZ = """\
task: quiz
dataset_path: json
dataset_kwargs:
  data_files: {train: quiz/train.jsonl, validation: quiz/validation.jsonl}
training_split: train
validation_split: validation
output_type: multiple_choice
doc_to_text: "Q: {{question}}\\nA:"
doc_to_target: "{{answer}}"
doc_to_choice: ["yes", "no"]
metric_list:
  - metric: acc
    aggregation: mean
    higher_is_better: true
"""


def write_rows(path: Path, rows: list[dict]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def write_suite(folder: Path, *written: object, **more: object) -> suites.Suite:
    path = folder / "mine.yaml"
    path.write_text(json.dumps({"name": "mine", "tasks": list(written), **more}))
    return suites.read(str(path))


def sourced(suite: suites.Suite, data_dir: Path | None = None) -> tuple[list[TaskSpec], list[TaskSpec], list[str]]:
    notices: list[str] = []
    report, search = suites.sources(suite, data_dir, notices)
    return list(report), list(search), notices


def refusal(suite: suites.Suite, data_dir: Path | None = None) -> str:
    with pytest.raises(ValueError, match=".") as caught:
        suites.sources(suite, data_dir, [])
    [line] = str(caught.value).splitlines()
    return line


def prompt(task, index: int = 0) -> str:
    task.build_all_requests(samples=[index])
    return task.instances[0].args[0]


def quiz(folder: Path, definition: str = QUIZ) -> None:
    """Write a task beside a suite, with four training and two reported questions.

    One of the reported questions is among the training ones.
    """
    (folder / "quiz.yaml").write_text(definition)
    asked = [{"question": f"Is {index} even?", "answer": ("yes", "no")[index % 2]} for index in range(6)]
    write_rows(folder / "quiz" / "train.jsonl", [*asked[:3], asked[4]])
    write_rows(folder / "quiz" / "validation.jsonl", asked[4:])
