"""Searchers of one super-network side by side.

Their hypervolumes, best networks and predictors, over seeds.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.command.searching import Searches
from harness.command.terminal import show_table
from reports.estimates import mean
from reports.search.agreement import prediction
from reports.search.searches import comparable, curve, whole

if TYPE_CHECKING:
    from harness.storage.store import Store
    from reports.estimates import Estimate
    from reports.search.searches import Search

MARKS = (50, 100, 250)  # evaluations at which the hypervolume is told, and the last
SIZES = (0.9, 0.8, 0.7)  # at which the best fitness is told: (1 + lambda) serves no others
NEAR = 0.005  # share of the dense parameters that a candidate may be off such a size
STANDARD = "nsga2"  # whose hypervolume the others are to reach


def stored(made: Searches, store: Store) -> list[Search]:
    """Return the finished searches as reports read them, with the seconds each took."""
    rows = []
    for node in made.searches():
        if store.has(node.key):
            path = store.file(node.key, "records.json")
            assert path is not None
            facts = json.loads(path.read_text())
            record = store.record(node.key)
            assert node.parent is not None
            own = {
                "name": facts["searcher"],
                "problem": node.parent.key,
                "evaluations": record["result"]["evaluations"],
            }
            rows.append(facts | own | {"seconds": record["cost"]["seconds"]})
    return rows


def rows(searches: Sequence[Search], evaluations: int) -> list[dict[str, Any]]:
    """Return the numbers of each searcher, estimates over its seeds.

    ValueError where searches do not share a reference point.
    """
    lost = [
        f"{one['name']} of seed {one['search_seed']}" for one in searches if one["reference"] is None or not whole(one)
    ]
    if lost:
        raise ValueError(f"{', '.join(lost)}: no candidate was scored on the whole search set; allow more evaluations")
    if len(comparable(searches)) > 1:
        points = {f"{one['name']} of seed {one['search_seed']}": one["reference"] for one in searches}
        raise ValueError(f"the searches do not share a reference point, so no hypervolume compares them: {points}")
    curves = {id(one): curve(one) for one in searches}
    rivals = [float(curves[id(one)].area[-1]) for one in searches if one["name"] == STANDARD]
    goal = sum(rivals) / len(rivals) if rivals else None
    marks = sorted({*(mark for mark in MARKS if mark <= evaluations), evaluations})
    names = dict.fromkeys(one["name"] for one in searches)
    return [_row(name, [one for one in searches if one["name"] == name], curves, goal, marks) for name in names]


def _row(
    name: str, searches: Sequence[Search], curves: dict[int, Any], goal: float | None, marks: Sequence[int]
) -> dict[str, Any]:
    def over(value: Callable[[Search], float | None]) -> Estimate | None:
        """Return the mean over the seeds that have one."""
        numbers = [each for one in searches if (each := value(one)) is not None]
        return mean(numbers) if numbers else None

    correlations = {id(one): prediction(whole(one)) for one in searches}

    def area(mark: int) -> Estimate | None:
        return over(lambda one: _area(curves[id(one)], mark, marks[-1]))

    def best(size: float) -> Estimate | None:
        return over(lambda one: _best(one, size))

    def tau(one: Search, within: bool) -> float | None:
        numbers = correlations[id(one)]
        side = numbers and (numbers.within if within else numbers.overall)
        return side.value if side else None

    return {
        "searcher": name,
        "seeds": len(searches),
        "hypervolume": {mark: area(mark) for mark in marks},
        "evaluations_to_standard": over(lambda one: None if goal is None else curves[id(one)].reach(goal)),
        "best": {size: best(size) for size in SIZES},
        "tau": over(lambda one: tau(one, False)),
        "tau_within_sizes": over(lambda one: tau(one, True)),
        "seconds": over(lambda one: one["seconds"]),
    }


def _area(curve: Any, mark: int, last: int) -> float:
    """Return the hypervolume after so many evaluations.

    The last mark takes all: a budget may be passed by a part of one.
    """
    return float(curve.area[-1] if mark == last else curve.at(np.array([mark]))[0])


def _best(one: Search, size: float) -> float | None:
    """Return the best fitness of a search near a size; None where it scored nothing there."""
    return min((each["fitness"] for each in whole(one) if abs(each["size"] - size) <= NEAR), default=None)


def title(made: Searches, one: Search) -> str:
    return (
        f"{made.run.model}, suite {made.run.suite}: hypervolume of ({one['objective']}, {one['cost']}) below "
        f"{one['reference'][0]:.4g}, {one['reference'][1]:.4g}; space {one['space']}; means and 95 % t intervals over seeds"
    )


def show(cells: Sequence[dict[str, Any]], form: str, *, title: str) -> None:
    """Print the rows as a table, as markdown or as JSON."""
    if form == "json":
        plain = {"title": title, "searchers": cells}
        print(json.dumps(plain, indent=1, default=lambda estimate: vars(estimate)))
        return
    headers = ["searcher", "seeds"]
    headers += [f"hypervolume at {mark}" for mark in cells[0]["hypervolume"]]
    headers += ["evaluations to NSGA-II's", *(f"fitness at {size:g}" for size in SIZES)]
    headers += ["tau", "tau within sizes", "seconds"]
    lines = [_cells(row) for row in cells]
    show_table(headers, lines, title=title, form=form)


def _cells(row: dict[str, Any]) -> list[str]:
    seeds = row["seeds"]
    return [
        row["searcher"],
        str(seeds),
        *(_text(each, 4, seeds) for each in row["hypervolume"].values()),
        _text(row["evaluations_to_standard"], 0, seeds),
        *(_text(each, 4, seeds) for each in row["best"].values()),
        *(_text(row[name], 2, seeds) for name in ("tau", "tau_within_sizes")),
        _text(row["seconds"], 0, seeds),
    ]


def _text(estimate: Estimate | None, places: int, seeds: int) -> str:
    """Return the estimate, with how many of the seeds have one where some do not."""
    if estimate is None:
        return "-"
    return estimate.text(places) + (f" ({estimate.n} of {seeds})" if estimate.n < seeds else "")
