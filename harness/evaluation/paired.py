"""Two variants on the same items.

Their difference, its interval and tests, and what so many items could show. Pure.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from harness.evaluation.distributions import LEVEL, beta, fair_tosses, sign_test, student

POWER = 0.8
DRAWS = 10_000
ENUMERATED = 14  # clusters whose signs are all tried: 16384 ways, more than the draws that would stand for them
MCNEMAR, SIGN_FLIP = "McNemar", "sign-flip"


@dataclass(frozen=True)
class Difference:
    """The difference of two means over the same items and its interval.

    None where the items cannot give one.

    The one rule for every difference that is printed: Student's interval of the paired differences by clusters.
    """

    estimate: float
    stderr: float | None
    low: float | None
    high: float | None
    freedom: float
    clusters: int
    binary: bool


@dataclass(frozen=True)
class Paired:
    """What the items say of variant minus reference; None where they cannot say it.

    `p` belongs to `test`; `mcnemar` is there for 0/1 values also where the test is another, because flips share a cluster.
    """

    estimate: float
    stderr: float | None
    low: float | None
    high: float | None
    detectable: float | None  # smallest true difference that is found with POWER
    freedom: float
    items: int
    clusters: int
    up: int  # items whose value is larger for the variant
    down: int
    binary: bool
    p: float
    test: str
    mcnemar: float | None
    sums: np.ndarray  # (clusters,) differences over the items of a cluster, divided by all units


def compare(
    reference: np.ndarray,
    variant: np.ndarray,
    units: np.ndarray,
    clusters: np.ndarray,
    *,
    level: float = LEVEL,
    seed: int = 0,
) -> Paired:
    """Return `difference` with its tests, from values, units and clusters (items,) of the same items."""
    gap = difference(reference, variant, units, clusters, level=level)
    change = variant - reference
    _, index = np.unique(clusters, return_inverse=True)
    up, down = int((change > 0).sum()), int((change < 0).sum())
    sums = np.bincount(index, weights=change)
    alone = int((np.bincount(index, weights=change != 0) > 0).sum()) == up + down
    mcnemar = exact_mcnemar(up, down) if gap.binary else None
    return Paired(
        **vars(gap),
        detectable=detectable(gap.stderr, gap.freedom, gap.clusters if gap.binary else None, level=level),
        items=len(change),
        up=up,
        down=down,
        p=mcnemar if mcnemar is not None and alone else sign_flip(sums, seed=seed),
        test=MCNEMAR if gap.binary and alone else SIGN_FLIP,
        mcnemar=mcnemar,
        sums=sums / units.sum(),
    )


def difference(
    reference: np.ndarray, variant: np.ndarray, units: np.ndarray, clusters: np.ndarray, *, level: float = LEVEL
) -> Difference:
    """Return the difference of the two means per unit.

    From values, units and clusters (items,) of the same items.

    The standard error is that of the per-item differences, clustered (Miller, arXiv 2411.00640), for
    unequal units linearised; the interval is Student's with clusters - 1 degrees of freedom, so few clusters widen it.
    """
    change = variant - reference
    _, index = np.unique(clusters, return_inverse=True)
    groups, whole = int(index.max()) + 1, units.sum()
    estimate = float(change.sum() / whole)
    residuals = np.bincount(index, weights=change - estimate * units)  # (groups,)
    stderr = float(np.sqrt((residuals**2).sum() * groups / (groups - 1)) / whole) if groups > 1 else None
    binary = bool(np.isin(np.stack([reference, variant]), (0.0, 1.0)).all())
    low, high = _interval(estimate, stderr, groups - 1, level, widest=1.0 if binary else math.inf)
    if stderr == 0 and binary and len(set(change)) == 1:
        low, high = unanimous(estimate, groups, level=level)
    return Difference(estimate, stderr, low, high, groups - 1, groups, binary)


def average(tasks: Sequence[Paired], *, level: float = LEVEL, seed: int = 0) -> Paired:
    """Return `mean_difference` of the tasks with its test."""
    difference = mean_difference(tasks, level=level)
    sums = np.concatenate([task.sums for task in tasks]) / len(tasks)
    return Paired(
        **vars(difference),
        detectable=detectable(
            difference.stderr, difference.freedom, difference.clusters if difference.binary else None, level=level
        ),
        items=sum(task.items for task in tasks),
        up=sum(task.up for task in tasks),
        down=sum(task.down for task in tasks),
        p=sign_flip(sums, seed=seed),
        test=SIGN_FLIP,
        mcnemar=None,  # it would weigh items, not tasks
        sums=sums,
    )


def mean_difference(tasks: Sequence[Difference | Paired], *, level: float = LEVEL) -> Difference:
    """Return the mean over tasks of their differences.

    Every task counts alike, whatever its number of items.

    Tasks are independent strata: the variances add, with Satterthwaite's degrees of freedom. Of one task it is that task's.
    """
    if len(tasks) == 1:
        [only] = tasks
        return Difference(only.estimate, only.stderr, only.low, only.high, only.freedom, only.clusters, only.binary)
    count = len(tasks)
    estimate = float(np.mean([task.estimate for task in tasks]))
    errors = [task.stderr for task in tasks if task.stderr is not None]
    stderr = float(np.sqrt(np.sum(np.square(errors))) / count) if len(errors) == count else None
    freedom = 0.0
    if stderr:
        spread = sum((task.stderr or 0.0) ** 4 / task.freedom for task in tasks)
        freedom = float((stderr * count) ** 4 / spread)
    binary = all(task.binary for task in tasks)
    low, high = _interval(estimate, stderr, freedom, level, widest=1.0 if binary else math.inf)
    return Difference(estimate, stderr, low, high, freedom, sum(task.clusters for task in tasks), binary)


def _interval(
    estimate: float, stderr: float | None, freedom: float, level: float, *, widest: float
) -> tuple[float, float] | tuple[None, None]:
    if not stderr:  # nothing varies: a width of zero would be a promise that no data can keep
        return None, None
    half = student((1 + level) / 2, freedom) * stderr
    return max(estimate - half, -widest), min(estimate + half, widest)  # accuracies differ by 1 at most


def unanimous(estimate: float, groups: int, *, level: float = LEVEL) -> tuple[float, float]:
    """Return the interval where every item changed by the same -1, 0 or 1.

    With confidence `level` the share of clusters that would do otherwise is below 1 - (1 - level)^(1 / groups), about
    3 / groups at 95 %, and those may do the worst.
    """
    share = 1 - (1 - level) ** (1 / groups)
    return estimate - share * (1 + estimate), estimate + share * (1 - estimate)


def detectable(
    stderr: float | None, freedom: float, groups: int | None, *, level: float = LEVEL, power: float = POWER
) -> float | None:
    """Return the smallest true difference that is found with `power`.

    (t_{1-alpha/2} + t_power) standard errors.

    Student's quantiles, normal ones (1.96 + 0.84) for many clusters, as the interval has them. Of 0/1 values in
    `groups` independent clusters never less than the share of one-way flips that yields with `power` as many as an
    exact test needs (6 at 95 %): the error of a handful of flips is itself a guess. None: not to be had.
    """
    errors = 0.0
    if stderr:
        errors = (student((1 + level) / 2, freedom) + student(power, freedom)) * stderr
    if groups is None:
        return errors or None
    needed = math.ceil(round(math.log2(2 / (1 - level)), 9))
    if stderr is None or groups < needed:
        return None
    return max(errors, beta(power, needed, groups - needed + 1))


def exact_mcnemar(up: int, down: int) -> float:
    """Return the two-sided exact p of `up` against `down` independent flips.

    Both ways are equally likely.
    """
    return sign_test(up, down)


def sign_flip(sums: np.ndarray, *, draws: int = DRAWS, seed: int = 0) -> float:
    """Return the two-sided p of the total of `sums` (clusters,) when the sign of each is a coin toss.

    Exact for whole numbers (for -1 and 1 it is McNemar's) and for at most ENUMERATED clusters; else from seeded draws,
    the observed signs counted among them.
    """
    sizes = np.abs(sums[sums != 0])
    observed = abs(float(sums.sum())) - 1e-9 * float(sizes.sum())  # ties are ties, whatever the order of summation
    if len(sizes) == 0:
        return 1.0
    if np.array_equal(sizes, np.round(sizes)):
        chances = _distribution(sizes.astype(int))
        return min(1.0, float(chances[np.abs(np.arange(len(chances)) - len(chances) // 2) >= observed].sum()))
    if len(sizes) <= ENUMERATED:
        every = 1 - 2 * (np.arange(2 ** len(sizes))[:, None] >> np.arange(len(sizes)) & 1)  # (ways, clusters)
        return float((np.abs(every @ sizes) >= observed).mean())
    rng, extreme, block = np.random.default_rng(seed), 0, max(1, 2**22 // len(sizes))
    for start in range(0, draws, block):
        signs = 1.0 - 2.0 * rng.integers(0, 2, size=(min(block, draws - start), len(sizes)))
        extreme += int((np.abs(signs @ sizes) >= observed).sum())
    return (1 + extreme) / (1 + draws)


def _distribution(sizes: np.ndarray) -> np.ndarray:
    """Return the chances of the totals -sum(sizes) .. sum(sizes) under random signs."""
    chances = np.ones(1)
    for size, count in zip(*np.unique(sizes, return_counts=True), strict=True):
        step = np.zeros(2 * size * count + 1)
        step[:: 2 * size] = fair_tosses(count)
        chances = np.convolve(chances, step)
    return chances


def holm(probabilities: Sequence[float]) -> list[float]:
    """Return the p values adjusted for being so many (Holm 1979).

    Below alpha only with family-wise error alpha.
    """
    raw = np.array(probabilities, dtype=float)
    order = np.argsort(raw, kind="stable")
    adjusted = np.minimum(1.0, np.maximum.accumulate(raw[order] * np.arange(len(raw), 0, -1)))
    result = np.empty_like(raw)
    result[order] = adjusted
    return [float(p) for p in result]
