"""Sums over scored items, per task and measure: chunks of a search set add up to the whole. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

Objective = Literal["choice_loss", "answer_loss", "accuracy", "kl", "perplexity"]
TEXT = ("kl", "perplexity")  # objectives over calibration text instead of items
Tally = dict[str, dict[str, float]]  # task -> {"n": items or tokens, measure: sum over them}


@dataclass(frozen=True)
class Item:
    """A multiple-choice item: its requests, one per choice, the choices' lengths in characters, and the right one."""

    task: str
    requests: tuple[int, ...]
    lengths: np.ndarray  # (choices,)
    answer: int


def tally(items: Iterable[Item], likelihoods: np.ndarray) -> Tally:
    """Return the sums of items whose requests have these log-likelihoods (requests,).

    choice_loss: -log softmax over the choices' log-likelihoods per character, scaled by the mean length;
    answer_loss: -log-likelihood per character of the right answer; accuracy: 1 where it is the most likely per character.
    """
    found: Tally = {}
    for item in items:
        each = likelihoods[list(item.requests)] / item.lengths
        scaled = each * item.lengths.mean()
        measures = {
            "n": 1.0,
            "choice_loss": float(np.logaddexp.reduce(scaled) - scaled[item.answer]),
            "answer_loss": -float(each[item.answer]),
            "accuracy": float(np.argmax(each) == item.answer),
        }
        found[item.task] = added(found.get(item.task, {}), measures)
    return found


def added(one: dict[str, float], other: dict[str, float]) -> dict[str, float]:
    """Return the sums of both."""
    return {name: one.get(name, 0.0) + other.get(name, 0.0) for name in {**one, **other}}


def merged(tallies: Sequence[Tally]) -> Tally:
    """Return one tally of several chunks."""
    total: Tally = {}
    for each in tallies:
        for task, sums in each.items():
            total[task] = added(total.get(task, {}), sums)
    return total


def mean(total: Tally, measure: str) -> float:
    """Return the mean over tasks of the mean over items; NaN where a task lacks the measure."""
    return float(np.mean([sums.get(measure, np.nan) / sums["n"] for sums in total.values()]))


def fitness(total: Tally, objective: Objective) -> float:
    """Return what a search minimises: the mean of `objective`, for accuracy 1 minus it."""
    found = mean(total, objective)
    return 1 - found if objective == "accuracy" else found
