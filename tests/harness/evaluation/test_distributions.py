"""Quantiles, chances and rank correlations are scipy.stats's.

Without the second that it takes to import.
"""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from harness.evaluation import distributions, ranks


@pytest.mark.parametrize("freedom", [1, 2.5, 30, 1e6, np.inf])
@pytest.mark.parametrize("probability", [0.5, 0.8, 0.975, 0.9995])
def test_students_quantiles_are_scipys(probability, freedom):
    assert distributions.student(probability, freedom) == pytest.approx(
        stats.t.ppf(probability, freedom), rel=1e-10, abs=1e-12
    )


def test_normal_and_beta_quantiles_are_scipys():
    assert distributions.normal(0.975) == pytest.approx(stats.norm.ppf(0.975), rel=1e-14)
    assert distributions.beta(0.8, 6, 95) == pytest.approx(stats.beta.ppf(0.8, 6, 95), rel=1e-12)


@pytest.mark.parametrize(("up", "down"), [(0, 0), (0, 1), (3, 3), (7, 2), (0, 40), (250, 190)])
def test_the_sign_test_is_scipys_binomial_test(up, down):
    expected = stats.binomtest(up, up + down).pvalue if up + down else 1.0
    assert distributions.sign_test(up, down) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("count", [0, 1, 17, 3000])
def test_fair_tosses_are_scipys_binomial_chances(count):
    expected = stats.binom.pmf(np.arange(count + 1), count, 0.5)
    np.testing.assert_allclose(distributions.fair_tosses(count), expected, rtol=1e-9, atol=1e-300)


@pytest.mark.parametrize("n", [2, 9, 700])
@pytest.mark.parametrize("ties", [False, True])
def test_rank_correlations_are_scipys(n, ties):
    draw = np.random.default_rng(n)
    one, other = draw.normal(size=(2, n))
    if ties and n > 2:
        one, other = np.round(one), np.round(other + one)
    assert ranks.kendall(one, other) == pytest.approx(stats.kendalltau(one, other).statistic, abs=1e-12)
    assert ranks.spearman(one, other) == pytest.approx(stats.spearmanr(one, other).statistic, abs=1e-12)


def test_a_ranking_of_one_value_has_no_tau():
    assert np.isnan(ranks.kendall(np.ones(4), np.arange(4)))


@pytest.mark.parametrize(
    ("n", "m", "ties"), [(7, 7, False), (8, 30, False), (2, 3, False), (20, 25, False), (7, 7, True), (5, 5, True)]
)
def test_the_test_of_mann_and_whitney_is_scipys(n, m, ties):
    draw = np.random.default_rng(n + m)
    for shift in (0.0, 0.5, 3.0):
        one, other = draw.normal(size=n), draw.normal(size=m) + shift
        if ties:
            one, other = np.round(2 * one), np.round(2 * other)
        assert ranks.mann_whitney(one, other) == pytest.approx(stats.mannwhitneyu(one, other).pvalue, rel=1e-9)
