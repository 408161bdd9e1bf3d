"""Sums over scored items, per task and measure: chunks of a search set add up to the whole. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

Objective = Literal["choice_error", "answer_loss", "accuracy", "answer_kl", "kl", "perplexity"]
TEXT = ("kl", "perplexity")  # objectives over calibration text instead of items
TAUGHT = ("kl", "answer_kl")  # objectives that need the predictions of the dense model
Tally = dict[str, dict[str, float]]  # task -> {"n": items or tokens, measure: sum over them}


@dataclass(frozen=True)
class Item:
    """A multiple-choice item: its requests, one per choice, and the right one.

    The choices' lengths are in characters.
    """

    task: str
    requests: tuple[int, ...]
    lengths: np.ndarray  # (choices,)
    answer: int
    tokens: int = 1  # of all choices


def tally(items: Iterable[Item], likelihoods: np.ndarray, divergences: np.ndarray | None = None) -> Tally:
    """Return the sums of items whose requests have these log-likelihoods (requests,).

    And divergences (requests,) if known.

    choice_error: 1 - the right answer's share in a softmax over log-likelihoods per character, scaled by the mean length: how
    often a draw from it would err (its log, the cross-entropy, follows a few overconfident items and ranks worse than size);
    answer_loss: -log-likelihood per character of the right answer; accuracy: 1 where it is the most likely per character;
    answer_kl: divergence from the dense model's predictions, a mean over the tokens of all choices.
    """
    sums: Tally = {}
    for item in items:
        each = likelihoods[list(item.requests)] / item.lengths
        scaled = each * item.lengths.mean()
        measures = {
            "n": 1.0,
            "choice_error": float(1 - np.exp(scaled[item.answer] - np.logaddexp.reduce(scaled))),
            "answer_loss": -float(each[item.answer]),
            "accuracy": float(np.argmax(each) == item.answer),
        }
        if divergences is not None:
            measures["answer_kl"] = float(divergences[list(item.requests)].sum()) / item.tokens
        sums[item.task] = added(sums.get(item.task, {}), measures)
    return sums


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
    value = mean(total, objective)
    return 1 - value if objective == "accuracy" else value
