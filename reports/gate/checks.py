"""The checks of one variant in two runs: scores, sizes, memory, speed.

What was tested is decided later, over all variants. Pure.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from harness.evaluation.distributions import LEVEL
from harness.evaluation.ranks import mann_whitney
from harness.measures.all_measures import quantity
from reports.compare.pairs import TaskComparison, aligned, average, compare
from reports.compare.sides import Side
from reports.gate.measured import Measured

Verdict = Literal["ok", "better", "worse", "differs", "missing", "unlike", "not judged"]
ANSWERS = ("loglikelihoods", "loss", "response", "metrics")  # of an item: what the model said


@dataclass(frozen=True)
class Limits:
    """What counts as worse: a change that chance rarely makes, and that is larger than these limits.

    Chance makes it at most with probability 1 - level, over all tests of a kind.
    """

    level: float = LEVEL
    drop: float = 0.0  # of an accuracy, as a share
    perplexity: float = 0.005  # relative, as of every number that is no share
    speed: float = 0.1  # relative, of the ratio to dense
    memory: float = 0.1  # relative
    measured: float = 0.1  # relative, of what else a measure found
    flips: float = math.inf  # items of a variant that may turn right or wrong; 0 where nothing was meant to change


@dataclass(frozen=True)
class Check:
    """One number of one variant in both runs.

    `p` is Holm's where it was tested, `said` what the verdict rests on.
    """

    variant: str
    kind: Literal["scores", "average", "flips", "size", "memory", "measured", "speed", "run"]
    what: str
    verdict: Verdict
    said: str = ""
    before: float | None = None
    now: float | None = None
    p: float | None = None
    least: float = 0.0  # the smallest p that its test can give
    score: TaskComparison | None = None
    same: bool = False  # every item answered with the same numbers


def checks(old: Measured, new: Measured, limits: Limits) -> Iterator[Check]:
    """Yield all of them; scores, averages and speeds with an unadjusted p and no verdict yet."""
    yield from scores(old, new, limits)
    yield from sizes(old, new)
    yield from memory(old, new, limits)
    yield from levels(old, new, limits)
    yield from speeds(old, new)


def scores(old: Measured, new: Measured, limits: Limits) -> Iterator[Check]:
    """Yield a check a task and one of the average, undecided: their p is not yet adjusted."""
    if old.side is None:
        return
    if new.side is None:
        yield Check(old.name, "scores", "scores", "missing", new.missing.get("evaluate", "not measured"))
        return
    sides = [old.side, replace(new.side, name=f"{new.name} now", metrics=old.side.metrics)]
    comparisons: list[TaskComparison] = []
    alike = []
    for task in old.side.items:
        try:
            score = _score(task, sides, limits.level)
        except ValueError as error:
            yield Check(old.name, "scores", task, "missing", str(error).removeprefix(f"{task}: "))
            continue
        comparisons.append(score)
        alike.append(_same(task, sides))
        yield _undecided(old.name, "scores", score, same=alike[-1])
    if mean := average(comparisons, limits.level):
        yield _undecided(old.name, "average", mean, same=all(alike))
    if comparisons and limits.flips < math.inf:
        flips = sum(len(score.lost) + len(score.gained) for score in comparisons if score.quantity.kind == "share")
        verdict: Verdict = "differs" if flips > limits.flips else "ok"
        yield Check(
            old.name, "flips", "items that turned right or wrong", verdict, f"at most {limits.flips:g}", 0, flips
        )


def _undecided(variant: str, kind: Literal["scores", "average"], score: TaskComparison, *, same: bool) -> Check:
    gap = score.difference
    what = f"{score.task} {score.metric}".strip()
    return Check(
        *(variant, kind, what, "ok"), before=score.reference, now=score.variant, p=gap.p, score=score, same=same
    )


def _score(task: str, sides: Sequence[Side], level: float) -> TaskComparison:
    """Return the task's paired comparison; ValueError says why the two runs' items of it cannot be paired."""
    if task not in sides[1].items:
        raise ValueError("the run did not score this task")
    [comparison] = compare(sides, tasks=[task], level=level).comparisons
    return comparison.tasks[0]


def _same(task: str, sides: Sequence[Side]) -> bool:
    return all(first[name] == second[name] for first, second in aligned(task, *sides) for name in ANSWERS)


def sizes(old: Measured, new: Measured) -> Iterator[Check]:
    for what, before in old.sizes.items():
        if (now := new.sizes.get(what)) is None:
            reason = new.missing.get("footprint", "not measured")
            yield Check(old.name, "size", what, "missing", reason, before)
        else:
            yield Check(old.name, "size", what, "ok" if now == before else "differs", "", before, now)


def memory(old: Measured, new: Measured, limits: Limits) -> Iterator[Check]:
    if old.memory is None or new.memory is None:
        return
    check = Check(old.name, "memory", "peak memory", "ok", "", old.memory, new.memory)
    if reason := _elsewhere(old, new):
        yield replace(check, verdict="not judged", said=reason)
    elif new.memory > old.memory * (1 + limits.memory):
        yield replace(check, verdict="worse", said=f"more than {limits.memory:.0%} above the baseline")
    else:
        yield check


def levels(old: Measured, new: Measured, limits: Limits) -> Iterator[Check]:
    """Yield a check of each quantity that a measure declares for the gate and that has no rule of its own."""
    for key, before in old.levels.items():
        what = quantity(key)
        now = new.levels.get(key)
        if now is None:
            yield Check(old.name, "measured", what.label, "missing", "not measured", before)
            continue
        check = Check(old.name, "measured", what.label, "ok", "", before, now)
        if reason := _elsewhere(old, new):
            yield replace(check, verdict="not judged", said=reason)
        elif what.sign * (now - before) < -limits.measured * abs(before):
            yield replace(check, verdict="worse", said=f"by more than {limits.measured:.0%} of the baseline")
        else:
            yield check


def speeds(old: Measured, new: Measured) -> Iterator[Check]:
    """Yield a check a timing, undecided; before and now are medians of the ratios to dense."""
    for what, before in old.speeds.items():
        now = new.speeds.get(what)
        if now is None:
            yield Check(old.name, "speed", what, "missing", new.missing.get("speed", "not measured"))
            continue
        check = Check(old.name, "speed", what, "ok", "", float(np.median(before)), float(np.median(now)))
        if reason := _elsewhere(old, new):
            yield replace(check, verdict="not judged", said=reason)
        else:
            busy = "timed on a busy machine" if old.contended or new.contended else ""
            least = 2 / math.comb(len(before) + len(now), len(now))
            yield replace(check, p=mann_whitney(np.asarray(before), np.asarray(now)), least=least, said=busy)


def _elsewhere(old: Measured, new: Measured) -> str:
    return "" if old.fingerprint == new.fingerprint else "measured on another machine than the baseline"
