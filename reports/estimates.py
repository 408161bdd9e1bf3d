"""Numbers with their 95 % intervals: means over few seeds, differences of groups, rank correlations.

Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.evaluation import ranks
from harness.evaluation.distributions import LEVEL, normal, student

Values = NDArray[np.float64]
KENDALL = 0.437  # variance of atanh(tau) times (n - 4), Fieller, Hartley & Pearson (1957)


@dataclass(frozen=True)
class Estimate:
    """A number, how many values it rests on, and its interval; None where there are too few for one."""

    value: float
    n: int
    low: float | None = None
    high: float | None = None

    def text(self, places: int = 2) -> str:
        """0.71 [0.62, 0.78], with a true minus."""
        bounds = [] if self.low is None or self.high is None else [self.low, self.high]
        value, *ends = (f"{round(each, places) + 0.0:.{places}f}" for each in (self.value, *bounds))  # never -0.00
        return (f"{value} [{', '.join(ends)}]" if ends else value).replace("-", "−")


def mean(values: Sequence[float]) -> Estimate:
    """The mean with Student's t interval; one value has none."""
    numbers = np.asarray(values, dtype=float)
    if len(numbers) < 2:
        return Estimate(float(numbers.mean()), len(numbers))
    half = float(student((1 + LEVEL) / 2, len(numbers) - 1) * numbers.std(ddof=1) / np.sqrt(len(numbers)))
    return Estimate(float(numbers.mean()), len(numbers), float(numbers.mean()) - half, float(numbers.mean()) + half)


def mean_correlation(values: Sequence[float]) -> Estimate:
    """The mean of correlations by Fisher's z, whose t interval stays between -1 and 1."""
    estimate = mean(np.arctanh(np.clip(values, -1 + 1e-9, 1 - 1e-9)).tolist())
    value, low, high = (
        None if each is None else float(np.tanh(each)) for each in (estimate.value, estimate.low, estimate.high)
    )
    return Estimate(value or 0.0, estimate.n, low, high)


def difference(one: Values, other: Values) -> Estimate | None:
    """mean(one) - mean(other) with Welch's t interval; None where a group has fewer than two values."""
    if min(len(one), len(other)) < 2:
        return None
    value, n = float(one.mean() - other.mean()), len(one) + len(other)
    parts = [group.var(ddof=1) / len(group) for group in (one, other)]
    spread = float(sum(parts))
    if spread == 0:
        return Estimate(value, n, value, value)
    freedom = spread**2 / sum(part**2 / (len(group) - 1) for part, group in zip(parts, (one, other), strict=True))
    half = student((1 + LEVEL) / 2, freedom) * spread**0.5
    return Estimate(value, n, value - half, value + half)


def kendall(one: Values, other: Values) -> Estimate | None:
    """Kendall's tau-b with Fieller's interval; None where it is undefined."""
    if len(one) < 2 or np.ptp(one) == 0 or np.ptp(other) == 0:
        return None
    return _fisher(ranks.kendall(one, other), len(one), KENDALL, 4)


def spearman(one: Values, other: Values) -> Estimate | None:
    """Spearman's rank correlation with the interval of Bonett & Wright (2000); None where it is undefined."""
    if len(one) < 2 or np.ptp(one) == 0 or np.ptp(other) == 0:
        return None
    rho = ranks.spearman(one, other)
    return _fisher(rho, len(one), 1 + rho**2 / 2, 3)


def _fisher(value: float, n: int, variance: float, lost: int) -> Estimate:
    """The interval by atanh, whose variance is variance / (n - lost)."""
    if n <= lost or abs(value) >= 1:
        return Estimate(value, n)
    half = normal((1 + LEVEL) / 2) * (variance / (n - lost)) ** 0.5
    return Estimate(value, n, float(np.tanh(np.arctanh(value) - half)), float(np.tanh(np.arctanh(value) + half)))


def after(values: Values, sizes: Values) -> Values:
    """What a quadratic in size, fitted by least squares, leaves of the values.

    Networks as if all were of one size.
    """
    distinct = len(np.unique(sizes))
    scaled = (sizes - sizes.mean()) / (sizes.std() or 1.0)
    terms = np.vander(scaled, min(3, distinct))  # (n, terms)
    return np.asarray(values - terms @ np.linalg.lstsq(terms, values, rcond=None)[0])
