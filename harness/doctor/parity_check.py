"""Whether two scorers gave the same answers, item by item. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from harness.evaluation.items import scores
from harness.quantities import Quantity

NEAR = 1e-3  # nats: top choices this close may swap, log-likelihoods this close are equal
ROUNDING = 2.0**-22  # of a page's sum, which stock HFLM adds up in float32: four units of its last place
ACCURACIES = ("acc", "acc_norm")


@dataclass(frozen=True)
class Parity:
    """One task's comparison.

    `differing` counts items with another prediction, `beyond_ties` those whose top choices were not within NEAR; `largest` is
    the largest difference of a log-likelihood in nats, `over` how many exceed NEAR (and rounding).
    """

    task: str
    items: int
    likelihoods: int
    near_ties: int
    differing: int
    beyond_ties: int
    largest: float
    over: int
    texts: int  # generated texts that differ
    ours: dict[str, float]
    theirs: dict[str, float]

    @property
    def equal(self) -> bool:
        return not (self.beyond_ties or self.over or self.texts)


def compare(task: str, ours: Sequence[dict[str, Any]], theirs: Sequence[dict[str, Any]], headline: Quantity) -> Parity:
    """Return how rows scored by us differ from those by the oracle.

    ValueError where they are not the same items.
    """
    if [row["item"] for row in ours] != [row["item"] for row in theirs]:
        raise ValueError(f"{task}: the two scorers were asked different items")
    near = differing = beyond = texts = over = count = 0
    largest = 0.0
    for mine, oracle in zip(ours, theirs, strict=True):
        for own, other in zip(_likelihoods(mine), _likelihoods(oracle), strict=True):
            count += 1
            gap = abs(own - other)
            largest = max(largest, gap)
            over += gap > NEAR + (ROUNDING * abs(other) if mine["loglikelihoods"] is None else 0.0)
        tied = _near_tie(oracle)
        judged = ("prediction", "prediction_norm") if oracle["prediction"] is not None else ("greedy",)
        other_prediction = any(mine[name] != oracle[name] for name in judged)
        near += tied
        differing += other_prediction
        beyond += other_prediction and not tied
        texts += mine["response"] != oracle["response"]
    return Parity(
        task,
        len(ours),
        count,
        near,
        differing,
        beyond,
        largest,
        over,
        texts,
        _metrics(ours, headline),
        _metrics(theirs, headline),
    )


def _likelihoods(row: dict[str, Any]) -> list[float]:
    if row["loglikelihoods"] is not None:
        return list(row["loglikelihoods"])
    return [] if row["loss"] is None else [-row["loss"]]


def _near_tie(row: dict[str, Any]) -> bool:
    """Tell whether the two best choices lie within NEAR.

    As sums, or as means per character scaled to the longer answer.
    """
    values = row["loglikelihoods"]
    if values is None or len(values) < 2:
        return False
    lengths = np.array(row["lengths"], dtype=float)
    means = np.array(values) / lengths
    return bool(_gap(np.array(values)) <= NEAR or _gap(means) * lengths.max() <= NEAR)


def _gap(values: np.ndarray) -> float:
    low, high = np.sort(values)[-2:]
    return float(high - low)


def _metrics(rows: Sequence[dict[str, Any]], headline: Quantity) -> dict[str, float]:
    values = scores(list(rows), headline)
    return {name: value for name, value in values.items() if name in (headline.key, *ACCURACIES)}
