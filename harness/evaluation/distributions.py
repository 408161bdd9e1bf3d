"""The quantiles and chances that intervals and tests are made of, by scipy.special.

scipy.stats takes a second to import. Pure.
"""

from __future__ import annotations

import numpy as np
from scipy import special

LEVEL = 0.95  # of every interval, where nobody asks for another


def student(probability: float, freedom: float) -> float:
    """Return the quantile of Student's t distribution; the normal one at infinite `freedom`."""
    return normal(probability) if np.isinf(freedom) else float(special.stdtrit(freedom, probability))


def normal(probability: float) -> float:
    """Return the quantile of the standard normal distribution."""
    return float(special.ndtri(probability))


def beta(probability: float, a: float, b: float) -> float:
    """Return the quantile of the beta distribution with parameters `a` and `b`."""
    return float(special.betaincinv(a, b, probability))


def fair_tosses(count: int) -> np.ndarray:
    """Return the chances (count + 1,) of 0 .. count heads among `count` fair tosses."""
    heads = np.arange(count + 1)
    return np.exp(
        special.gammaln(count + 1) - special.gammaln(heads + 1) - special.gammaln(count - heads + 1) - count * np.log(2)
    )


def sign_test(up: int, down: int) -> float:
    """Return the two-sided exact p of `up` against `down` when both are equally likely.

    1 for none of either.
    """
    return min(1.0, 2 * float(special.bdtr(min(up, down), up + down, 0.5))) if up + down else 1.0
