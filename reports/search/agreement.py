"""How far a search can be believed.

Its predictor, its cheap objective, and how much it fitted the search items. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from reports.estimates import Estimate, Values, after, difference, kendall, spearman
from reports.search.searches import Record, Search, column, on_front, strategies, whole

ENOUGH = 5  # candidates below which no correlation is told


@dataclass(frozen=True)
class Correlation:
    """A rank correlation over all candidates, and within sizes.

    Of what a quadratic in size leaves of both sides.
    """

    overall: Estimate
    within: Estimate | None


def predicted(records: Sequence[Record]) -> list[Record]:
    """The records whose fitness was predicted before it was measured."""
    return [record for record in records if record.get("predicted") is not None]


def prediction(records: Sequence[Record]) -> Correlation | None:
    """Kendall's tau of predictions against fitness.

    Overall it flatters, since the size alone predicts much.
    """
    some = predicted(records)
    guess, fitness, size = (column(some, name) for name in ("predicted", "fitness", "parameters"))
    overall = kendall(guess, fitness) if len(some) >= ENOUGH else None
    return Correlation(overall, kendall(after(guess, size), after(fitness, size))) if overall else None


def checked(records: Sequence[Record]) -> list[Record]:
    """The records that were also scored on items that the search did not see."""
    return [record for record in records if record.get("held_out")]


def held_out(records: Sequence[Record], name: str) -> Values:
    """A measure on items that the search did not see (n,)."""
    return column([record["held_out"] for record in records], name)


@dataclass(frozen=True)
class Proxy:
    """Spearman's correlations with accuracy on held-out items.

    They are positive where the cheap number is right about the accuracy.
    """

    objective: Correlation
    size: Estimate | None  # of the parameters alone


def proxy(records: Sequence[Record]) -> Proxy | None:
    """The cheap objective against accuracy on held-out items, and beside it the size alone."""
    some = checked(records)
    if len(some) < ENOUGH:
        return None
    accuracy, good, size = held_out(some, "accuracy"), -column(some, "fitness"), column(some, "parameters")
    overall = spearman(good, accuracy)
    if overall is None:
        return None
    return Proxy(Correlation(overall, spearman(after(good, size), after(accuracy, size))), spearman(size, accuracy))


@dataclass(frozen=True)
class Losses:
    """The same loss of candidates on search items and on held-out items (n,).

    `front` tells which candidates are on the front.
    """

    records: list[Record]
    search: Values
    held_out: Values
    front: np.ndarray
    measure: str  # accuracy: the errors, 1 minus it

    @property
    def overfit(self) -> Estimate | None:
        """How much more the front loses on held-out items than the others do: what selection made of luck."""
        gap = self.held_out - self.search
        return difference(gap[self.front], gap[~self.front])


def losses(search: Search) -> Losses | None:
    """The checked candidates' objective on both splits.

    Choice error where held-out items do not have the objective.
    """
    records = whole(search)
    best = dict(zip(map(id, records), on_front(records), strict=True)) if records else {}
    twice_scored, wanted = checked(records), search["objective"]
    measure = wanted if twice_scored and wanted in twice_scored[0]["held_out"] else "choice_error"
    some = [record for record in twice_scored if None not in (record.get(measure), record["held_out"].get(measure))]
    if not some:
        return None
    seen, unseen = column(some, measure), held_out(some, measure)
    if measure == "accuracy":
        seen, unseen = 1 - seen, 1 - unseen
    return Losses(some, seen, unseen, np.array([best[id(record)] for record in some]), measure)


def distinct(group: Sequence[Search]) -> list[Record]:
    """The whole candidates of comparable searches, each architecture once.

    One that was checked stands for its likes.
    """
    by_genome: dict[str, Record] = {}
    for strategy in strategies(group):
        for search in strategy.searches:
            for record in whole(search):
                name = repr(record["architecture"])
                if name not in by_genome or (record.get("held_out") and not by_genome[name].get("held_out")):
                    by_genome[name] = record
    return list(by_genome.values())
