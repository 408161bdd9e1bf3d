"""The table of tasks and texts.

Which file of a local mirror (`data_dir=`) holds which split, and who defines the task.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path


@dataclass(frozen=True)
class Layout:
    """`definition` is the YAML inside lm_eval/tasks; `files` maps a split to a file of the mirror."""

    definition: str
    files: dict[str, str] = field(default_factory=dict)
    rows: dict[str, int] = field(default_factory=dict)  # of a whole file, by split
    evaluate: str = "validation"
    subject: str | None = None  # rows of other subjects are left out
    parts: tuple[str, ...] = ()  # the tasks of a group


def _three(name: str, definition: str, train: int, validation: int, test: int) -> Layout:
    rows = {"train": train, "validation": validation, "test": test}
    return Layout(definition, {split: f"{name}/{split}.jsonl" for split in rows}, rows, evaluate="test")


def _one(definition: str, file: str, rows: int, split: str = "validation", train: int = 0) -> Layout:
    """Return the layout of a task with one needed file.

    `train` rows beside it, where there are any, are for searches.
    """
    files, counts = {split: file}, {split: rows}
    if train:
        files, counts = {"train": file.replace(split, "train"), **files}, {"train": train, **counts}
    return Layout(definition, files, counts, evaluate=split)


TASKS: dict[str, Layout] = {
    "boolq": _one("super_glue/boolq/default.yaml", "boolq/validation.jsonl.gz", 3270, train=9427),
    "piqa": _one("piqa/piqa.yaml", "piqa/validation.jsonl", 1838, train=16113),
    "social_iqa": _one("siqa/siqa.yaml", "social_iqa/validation.jsonl", 1954, train=33410),
    "hellaswag": _one("hellaswag/hellaswag.yaml", "hellaswag/validation.jsonl.gz", 10042, train=39905),
    "winogrande": Layout(
        "winogrande/default.yaml",
        {"train": "winogrande/train_l.jsonl.gz", "validation": "winogrande/validation.jsonl"},
        {"train": 10234, "validation": 1267},
    ),
    "arc_easy": _three("arc_easy", "arc/arc_easy.yaml", 2251, 570, 2376),
    "arc_challenge": _three("arc_challenge", "arc/arc_challenge.yaml", 1119, 299, 1172),
    "openbookqa": _three("openbookqa", "openbookqa/openbookqa.yaml", 4957, 500, 500),
    "truthfulqa_mc1": _one("truthfulqa/truthfulqa_mc1.yaml", "truthfulqa_mc/validation.jsonl", 817),
    "truthfulqa_mc2": _one("truthfulqa/truthfulqa_mc2.yaml", "truthfulqa_mc/validation.jsonl", 817),
    "lambada_openai": _one("lambada/lambada_openai.yaml", "lambada_openai/test.jsonl.gz", 5153, "test"),
    "wikitext": _one("wikitext/wikitext.yaml", "wikitext2/test.jsonl", 62, "test"),
    "wikitext2_token": _one("", "wikitext2/test.jsonl", 62, "test"),
    "ptb_token": _one("", "ptb/test.jsonl", 3761, "test"),
}
MMLU_FILES = {"test": "mmlu/test.jsonl.gz", "dev": "mmlu/dev.jsonl"}
MMLU_ROWS = {"test": 14042, "dev": 285}
HUB_TEXT = {  # repository, configuration, split, column of running text
    "wikitext2_token": ("EleutherAI/wikitext_document_level", "wikitext-2-raw-v1", "test", "page"),
    "ptb_token": ("ptb-text-only/ptb_text_only", "penn_treebank", "test", "sentence"),
    "wikitext2": ("Salesforce/wikitext", "wikitext-2-raw-v1", "train", "text"),
    "alpaca": ("yahma/alpaca-cleaned", None, "train", ""),
}
JOINED = {"wikitext2_token": 2}  # how rows make one text, counted up where that changed: 2 as in pruning papers' code
TEXT = {
    "alpaca": "alpaca/train.jsonl.gz",
    "wikitext2": "wikitext2_paragraphs/train.jsonl.gz",
    "demo_instructions": "demo/instructions.jsonl",
}
RUNNING = ("wikitext2",)  # of these texts those without instructions
DEMO_FORMATS = ("boolq", "piqa", "hellaswag", "winogrande", "arc_easy", "arc_challenge", "openbookqa")


def layout(task: str) -> Layout | None:
    """Return a known task's layout; demo tasks read the same definitions with shipped items."""
    if task.startswith("demo_") and task.removeprefix("demo_") in DEMO_FORMATS:
        name = task.removeprefix("demo_")
        files = {"train": f"demo/{name}/train.jsonl", "validation": f"demo/{name}/test.jsonl"}
        return Layout(TASKS[name].definition, files)
    if task == "mmlu":
        return Layout("mmlu/default/_mmlu.yaml", MMLU_FILES, MMLU_ROWS, "test", parts=tuple(mmlu_subjects()))
    if task in mmlu_subjects():
        return Layout(f"mmlu/default/{task}.yaml", MMLU_FILES, MMLU_ROWS, "test", subject=mmlu_subjects()[task])
    return TASKS.get(task)


def definitions_folder() -> Path:
    """Return lm_eval/tasks without importing lm-eval, which takes seconds."""
    package = importlib.util.find_spec("lm_eval")
    assert package is not None
    assert package.origin is not None
    return Path(package.origin).parent / "tasks"


@cache
def mmlu_subjects() -> dict[str, str]:
    """Return the `subject` field of the rows by task, as lm-eval's own definitions name them."""
    names = [path.stem for path in sorted((definitions_folder() / "mmlu" / "default").glob("mmlu_*.yaml"))]
    return {name: name.removeprefix("mmlu_") for name in names}
