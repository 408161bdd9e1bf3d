"""The shipped demo items, read for what they ask and answer."""

from __future__ import annotations

from harness.data import text
from harness.data.mirror import demo_folder

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
