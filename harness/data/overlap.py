"""Which rows of a training or calibration text ask what a suite reports or searches.

They are left out.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from harness.spec import TaskSpec

LONG = 5  # words: shorter questions, such as "Water", occur everywhere and give nothing away
# Rows of alpaca that hold a question of the shipped suites, by `row_hash`: a test finds no other in a whole mirror.
LEFT_OUT = frozenset(
    {
        "2ce4e6cf5fdf9256",  # truthfulqa_mc1
        "3a9e328bb9faae52",  # openbookqa, training items
        "4be6a1a7009e6eae",  # mmlu
        "77059ccf66e43746",  # mmlu, and training items of openbookqa
        "b59deebecbe6fb1b",  # openbookqa
        "ca8e490952660c3a",  # arc_easy
        "d721beffa3eec778",  # mmlu
    }
)


def words(text: str) -> str:
    """Return the words alone, one space between them: case, punctuation and white space do not count."""
    return " ".join(re.findall(r"\w+", text.casefold()))


def row_text(row: dict[str, Any]) -> str:
    """Return what a row of instructions or of running text says."""
    return " ".join(
        str(row[key]) for key in ("instruction", "input", "output", "text", "page", "sentence") if row.get(key)
    )


def row_hash(row: dict[str, Any]) -> str:
    """Return the hash that names a row, whatever file or order it comes in.

    Of what is asked, or of the running text.
    """
    asked = {key: value for key, value in row.items() if key != "output"}
    return digest(words(row_text(asked)))


def digest(said: str) -> str:
    return hashlib.sha256(said.encode()).hexdigest()[:16]


def forms(task: Any, document: dict[str, Any]) -> Iterator[str]:
    """Yield the words of an item's question as it may stand elsewhere.

    Without choices, and a cloze filled in.
    """
    from harness.data.tasks import question

    yield words(question(task, document))
    if task.multiple_input:
        yield from (words(f"{choice} {task.doc_to_target(document)}") for choice in task.doc_to_choice(document))
    elif isinstance(document.get("question"), str) and "context" not in document:
        yield words(document["question"])


def questions(task: Any) -> Iterator[str]:
    """Yield the words of every question that an lm-eval task scores."""
    for document in task.eval_docs:
        yield from forms(task, document)


def asked(report: tuple[TaskSpec, ...], search: tuple[TaskSpec, ...], scratch: Path) -> dict[str, list[str]]:
    """Return the questions of every reported and every searched task, by its name; running text asks none."""
    from harness.data import tasks

    by_words = {}
    loaded = {
        "reports": tasks.load(tuple(filter(tasks.asks, report)), scratch, "report"),
        "searches": tasks.load(tuple(filter(tasks.searchable, search)), scratch, "search"),
    }
    for use, tasks_of in loaded.items():
        for name, parts in tasks_of.items():
            by_words[f"{name} {use}"] = [question for task in parts.values() for question in questions(task)]
    return by_words


def holding(rows: Iterable[dict[str, Any]], asked: Iterable[str]) -> list[tuple[dict[str, Any], str]]:
    """Return the rows that hold a long question word for word, each with the first one found."""
    starts: dict[tuple[str, ...], list[str]] = {}
    for question in set(asked):
        parts = question.split()
        if len(parts) >= LONG:
            starts.setdefault(tuple(parts[:LONG]), []).append(question)
    return [(row, place) for row in rows if (place := _first(words(row_text(row)).split(), starts)) is not None]


def _first(said: list[str], starts: dict[tuple[str, ...], list[str]]) -> str | None:
    for place in range(len(said) - LONG + 1):
        for question in starts.get(tuple(said[place : place + LONG]), ()):
            length = question.count(" ") + 1
            if said[place : place + length] == question.split():
                return question
    return None


def apart(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows without those that ask what is reported."""
    return [row for row in rows if row_hash(row) not in LEFT_OUT]
