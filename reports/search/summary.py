"""What a search found in a few numbers.

A line a strategy, for the page, the terminal, Markdown and JSON. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from reports.estimates import Estimate, mean, mean_correlation
from reports.search.agreement import Proxy, distinct, losses, prediction, proxy
from reports.search.searches import Search, Strategy, comparable, over_seeds, strategies, whole
from reports.variants import Facts

WORDS = {
    "choice_error": "choice error",
    "answer_loss": "answer loss",
    "accuracy": "error",
    "answer_kl": "KL to dense",
    "kl": "KL to dense",
    "perplexity": "perplexity",
}


@dataclass(frozen=True)
class Line:
    """One strategy. Intervals are over its seeds.

    With one seed, tau's and the gap's are over its candidates.
    """

    strategy: str
    seeds: int
    evaluations: float
    candidates: int
    hypervolume: Estimate | None
    reached: Estimate | None  # evaluations until `Problem.level`
    tau: Estimate | None
    tau_within: Estimate | None
    overfit: Estimate | None


@dataclass(frozen=True)
class Problem:
    """Comparable searches: what they search for, and a line for each strategy.

    `proxy` is what all their candidates say of the objective.
    """

    title: str
    objective: str
    level: float | None  # the largest hypervolume that every search reached
    lines: list[Line]
    proxy: Proxy | None

    @property
    def compared(self) -> bool:
        """True where there are several searches, so that a common level says something."""
        return sum(line.seeds for line in self.lines) > 1


def problems(searches: Sequence[Search]) -> list[Problem]:
    """The searches, those that cannot be compared apart."""
    return [problem(group) for group in comparable(searches)]


def problem(group: Sequence[Search]) -> Problem:
    """Comparable searches in numbers."""
    parts = strategies(group)
    finals = [curve.area[-1] for strategy in parts for curve in strategy.curves]
    level = float(min(finals)) if finals else None
    first = group[0]
    title = f"{WORDS[first['objective']]} against {first['cost']}, space {first['space']}"
    lines = [line(strategy, first["reference"], level) for strategy in parts]
    return Problem(title, first["objective"], level, lines, proxy(distinct(group)))


def line(strategy: Strategy, reference: Sequence[float] | None, level: float | None) -> Line:
    """One strategy in numbers."""
    taus = [prediction(whole(search)) for search in strategy.searches]
    gaps = [losses(search) for search in strategy.searches]
    curves = strategy.curves if reference is not None else []
    reached = [curve.reach(level) for curve in curves] if level is not None else []
    numbers = [spent for spent in reached if spent is not None]
    return Line(
        strategy=strategy.name,
        seeds=len(strategy.searches),
        evaluations=min(float(search["evaluations"]) for search in strategy.searches),
        candidates=sum(len(whole(search)) for search in strategy.searches),
        hypervolume=mean([curve.area[-1] for curve in curves]) if curves else None,
        reached=mean(numbers) if numbers and len(numbers) == len(curves) else None,
        tau=over_seeds([tau.overall for tau in taus if tau], mean_correlation),
        tau_within=over_seeds([tau.within for tau in taus if tau], mean_correlation),
        overfit=over_seeds([gap.overfit for gap in gaps if gap]),
    )


def plain(searches: Sequence[Search]) -> list[dict[str, Any]]:
    """The numbers as JSON values; the candidates themselves stay in the store."""
    return [asdict(each) for each in problems(searches)]


def sentences(facts: Facts) -> list[str]:
    """A sentence a strategy and one that explains them; nothing where nothing was searched."""
    stated = problems(facts.get("searches") or [])
    told = []
    for each in stated:
        for one in each.lines:
            said = [_of(one)]
            if one.hypervolume:
                said.append(f"hypervolume {one.hypervolume.text(3)}")
            if one.reached and each.compared:
                said.append(f"{each.level:.3f} reached after {one.reached.value:.0f} evaluations")
            if one.tau:
                within = f" ({one.tau_within.text()} within sizes)" if one.tau_within else ""
                said.append(f"predictor's Kendall τ {one.tau.text()}{within}")
            if one.overfit:
                said.append(f"overfit {one.overfit.text()}")
            told.append(f"{', '.join(said)}.")
        if each.proxy:
            told.append(_proxy(each))
    if told:
        told.append(LEGEND)
    return [f"search: {words}" if words is not LEGEND else words for words in told]


LEGEND = (
    "hypervolume: below the worst seed network, larger is better; within sizes: after a quadratic in size; overfit: how much "
    "more the front loses on held-out items than other candidates do. [95 % intervals: over search seeds, over candidates "
    "where there is one.]"
)


def _of(one: Line) -> str:
    seeds = f"{one.seeds} seeds of {one.evaluations:.0f}" if one.seeds > 1 else f"{one.evaluations:.0f}"
    return f"{one.strategy}, {seeds} evaluations"


def _proxy(each: Problem) -> str:
    assert each.proxy is not None
    proxy = each.proxy
    size = f"; the size alone {proxy.size.text()}" if proxy.size else ""
    within = f" ({proxy.objective.within.text()} within sizes)" if proxy.objective.within else ""
    return (
        f"{WORDS[each.objective]} and accuracy on held-out items agree by Spearman's ρ {proxy.objective.overall.text()}"
        f"{within}{size}; {proxy.objective.overall.n} networks."
    )
