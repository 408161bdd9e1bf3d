"""Items that flipped between two variants, with what each of them thought of every choice."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain, islice, zip_longest
from typing import Any

from harness.evaluation.items import value
from harness.quantities import Quantity
from reports.compare.pairs import Comparison, Pair
from reports.compare.sides import Item
from reports.variants import one_line

LONGEST = 320  # letters of a question: four lines of a terminal
NO_TEXT = "(the text of this item is not stored)"


@dataclass(frozen=True)
class Choice:
    """A possible answer: whether it is right, its two scores, and who chose it.

    The scores are those that the reference and the variant gave it, and each of the two may have chosen it.
    """

    text: str
    right: bool
    scores: tuple[float, float]
    chosen: tuple[bool, bool]


@dataclass(frozen=True)
class Flip:
    """One item, `lost` by the variant or gained; `values` are both sides' share in the metric."""

    task: str
    part: str
    doc_id: int
    item: str
    lost: bool
    metric: str
    question: str
    measure: str  # what the choices' scores are
    choices: list[Choice]
    responses: tuple[str, str]
    values: tuple[float, float]
    rows: tuple[Item, Item]


def flips(comparison: Comparison, count: int) -> list[Flip]:
    """Return `count` lost items and as many gained ones, task by task in turn.

    Running text has none to show.
    """
    tasks = [task for task in comparison.tasks if not task.quantity.lossy]
    lost = [[_flip(task.quantity, pair, lost=True) for pair in task.lost[:count]] for task in tasks]
    gained = [[_flip(task.quantity, pair, lost=False) for pair in task.gained[:count]] for task in tasks]
    return [*_in_turn(lost, count), *_in_turn(gained, count)]


def _in_turn(queues: Iterable[list[Flip]], count: int) -> list[Flip]:
    taken = chain.from_iterable(zip_longest(*queues))
    return list(islice((flip for flip in taken if flip is not None), count))


def _flip(quantity: Quantity, pair: Pair, *, lost: bool) -> Flip:
    first, metric = pair[0], quantity.key
    measure, choices = _choices(metric, pair)
    return Flip(
        task=first["task"],
        part=first["part"],
        doc_id=first["doc_id"],
        item=first["item"],
        lost=lost,
        metric=metric,
        question=one_line(_text(pair, "question") or NO_TEXT),
        measure=measure,
        choices=choices,
        responses=(one_line(pair[0]["response"] or ""), one_line(pair[1]["response"] or "")),
        values=(value(pair[0], quantity), value(pair[1], quantity)),
        rows=pair,
    )


def _text(pair: Pair, column: str) -> Any:
    """Return what either side knows of the item's text: an older store kept none."""
    return pair[0][column] or pair[1][column]


def _choices(metric: str, pair: Pair) -> tuple[str, list[Choice]]:
    """Return what the scores are, and the choices with the number by which each side chose."""
    likelihoods = [row["loglikelihoods"] or [] for row in pair]
    count = min(map(len, likelihoods))
    texts = [one_line(text) for text in _text(pair, "choices") or [f"choice {index + 1}" for index in range(count)]]
    labels = pair[0]["labels"]
    right = [bool(label) for label in labels] if labels else [index == pair[0]["target"] for index in range(count)]
    measure = "log-likelihood"
    if metric == "acc_norm":
        measure = "log-likelihood a character"
        likelihoods = [
            [score / length for score, length in zip(row["loglikelihoods"], row["lengths"], strict=True)]
            for row in pair
        ]
    chosen = [[_chose(metric, row, index) for row in pair] for index in range(count)]
    return measure, [
        Choice(texts[index], right[index], (likelihoods[0][index], likelihoods[1][index]), (one, other))
        for index, (one, other) in enumerate(chosen)
    ]


def _chose(metric: str, row: Item, index: int) -> bool:
    """Tell whether this choice is the side's answer.

    A probability mass has none, a single answer is said or not.
    """
    if row["labels"] and metric == "acc":
        return False
    answer = row["prediction_norm"] if metric == "acc_norm" else row["prediction"]
    return bool(row["greedy"] and row["greedy"][index]) if answer is None else answer == index


def shortened(text: str, longest: int = LONGEST) -> str:
    """Return the text, or its beginning and its end, where the question usually stands."""
    if len(text) <= longest:
        return text
    head = longest // 3
    return f"{text[:head].rstrip()} … {text[-(longest - head - 3) :].lstrip()}"
