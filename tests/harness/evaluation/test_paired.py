"""Differences of two variants on the same items.

hand-made cases, other formulas, and what simulations say of the promises.
"""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from harness.evaluation.items import clustered_stderr
from harness.evaluation.paired import average, compare, detectable, exact_mcnemar, holm, sign_flip, unanimous
from harness.evaluation.statistics import bootstrap_means


def alone(count: int) -> np.ndarray:
    return np.arange(count)


def answers(lost: int, gained: int, kept: int) -> tuple[np.ndarray, np.ndarray]:
    """Right and wrong of reference and variant: so many lost, gained, and the same (half of them right)."""
    same = np.arange(kept) % 2
    reference = np.concatenate([np.ones(lost), np.zeros(gained), same])
    return reference, np.concatenate([np.zeros(lost), np.ones(gained), same])


def of(lost: int, gained: int, kept: int, **more):
    reference, variant = answers(lost, gained, kept)
    return compare(reference, variant, np.ones(len(reference)), alone(len(reference)), **more)


def test_a_difference_its_error_and_interval_by_hand():
    sides = np.array([1.0, 1, 0, 0]), np.array([1.0, 0, 1, 1])
    actual = compare(*sides, np.ones(4), alone(4))
    # differences 0, -1, 1, 1: mean 1/4, sum of squared deviations 11/4, variance 11/12
    assert actual.estimate == 0.25
    assert actual.stderr == pytest.approx(math.sqrt(11 / 12 / 4))
    half = 3.182446 * math.sqrt(11 / 48)  # Student's 97.5 % point with 3 degrees of freedom, from a table
    assert (actual.low, actual.high) == (-1.0, 1.0)  # 0.25 -+ 1.52 leaves what accuracies can differ by
    tenfold = compare(*(10 * side for side in sides), np.ones(4), alone(4))  # no accuracies, so no bound
    assert (tenfold.low, tenfold.high) == (pytest.approx(2.5 - 10 * half), pytest.approx(2.5 + 10 * half))
    assert (actual.up, actual.down, actual.items) == (2, 1, 4)


def test_the_interval_is_that_of_a_paired_t_test():
    rng = np.random.default_rng(0)
    reference, variant = rng.random((2, 40))
    low, high = stats.ttest_rel(variant, reference).confidence_interval(0.9)
    actual = compare(reference, variant, np.ones(40), alone(40), level=0.9)
    assert (actual.low, actual.high) == (pytest.approx(low), pytest.approx(high))


def test_the_error_is_clustered_as_that_of_a_score():
    rng = np.random.default_rng(1)
    reference, variant = (rng.random((2, 120)) < 0.6).astype(float)
    clusters = rng.integers(0, 17, 120)
    actual = compare(reference, variant, np.ones(120), clusters)
    assert actual.stderr == pytest.approx(clustered_stderr(variant - reference, list(clusters)), rel=1e-12)
    assert (actual.clusters, actual.freedom) == (17, 16)


def test_copies_of_an_item_teach_nothing():
    reference, variant = answers(5, 11, 30)
    once = compare(reference, variant, np.ones(46), alone(46))
    copied = compare(np.repeat(reference, 4), np.repeat(variant, 4), np.ones(184), np.repeat(alone(46), 4))
    for name in ("estimate", "stderr", "low", "high", "p", "detectable"):
        assert getattr(copied, name) == pytest.approx(getattr(once, name)), name


def test_few_clusters_widen_the_interval():
    sides = [2 * side for side in answers(3, 6, 1)]  # no accuracies, so the interval is not cut at a difference of 1
    actual = compare(*sides, np.ones(10), alone(10))
    few = compare(*sides, np.ones(10), np.array([0] * 5 + [1] * 5))
    assert (few.high - few.low) / few.stderr == pytest.approx(2 * stats.t.ppf(0.975, 1))
    assert (actual.high - actual.low) / actual.stderr == pytest.approx(2 * stats.t.ppf(0.975, 9))


def test_losses_differ_by_nats_a_unit_whatever_the_lengths():
    rng = np.random.default_rng(2)
    units = rng.integers(50, 500, 60).astype(float)
    reference = units * (3 + 0.2 * rng.standard_normal(60))
    variant = reference + units * (0.1 + 0.05 * rng.standard_normal(60))
    actual = compare(reference, variant, units, alone(60))
    assert actual.estimate == pytest.approx(variant.sum() / units.sum() - reference.sum() / units.sum())
    # resampling pages gives the same error as the linearised one: 4000 draws know it to 1.1 %, 60 pages lack 1/120
    picks = rng.integers(0, 60, (4000, 60))
    draws = ((variant - reference)[picks].sum(axis=1)) / units[picks].sum(axis=1)
    assert actual.stderr == pytest.approx(draws.std(), rel=0.05)
    assert actual.mcnemar is None
    assert actual.test == "sign-flip"


def test_exchanging_the_sides_changes_the_sign_alone():
    reference, variant = answers(4, 15, 40)
    there, back = (compare(a, b, np.ones(59), alone(59)) for a, b in ((reference, variant), (variant, reference)))
    assert (there.estimate, there.low, there.high) == (-back.estimate, -back.high, -back.low)
    assert (there.up, there.down, there.p) == (back.down, back.up, back.p)


def coverage(clusters: int, size: int, *, level: float, trials: int) -> float:
    """Return how often the interval holds the true difference of clustered right and wrong answers."""
    rng, held = np.random.default_rng(0), 0
    index = np.repeat(np.arange(clusters), size)
    for _ in range(trials):
        easy = np.repeat(rng.random(clusters), size)  # questions on one passage are easy or hard together
        better = np.repeat(rng.random(clusters) * 0.2, size)  # and so is what the variant gains: 0.1 in the mean
        draw = rng.random(clusters * size)
        reference, variant = draw < easy * 0.8, draw < easy * 0.8 + better
        actual = compare(reference.astype(float), variant.astype(float), np.ones(len(index)), index, level=level)
        held += actual.low <= 0.1 <= actual.high
    return held / trials


@pytest.mark.parametrize(("clusters", "size", "level"), [(100, 1, 0.95), (25, 4, 0.95), (60, 3, 0.8)])
def test_an_interval_holds_the_truth_as_often_as_it_says(clusters, size, level):
    # 800 trials see 95 % to 0.8 % and 80 % to 1.4 % (one sigma): two and a half sigma, and a point for skewness
    allowed = 2.5 * math.sqrt(level * (1 - level) / 800) + 0.01
    assert coverage(clusters, size, level=level, trials=800) == pytest.approx(level, abs=allowed)


@pytest.mark.parametrize(("up", "down"), list(itertools.product((0, 1, 2, 5, 6, 17), repeat=2)))
def test_mcnemar_is_the_two_sided_binomial_of_the_flips(up, down):
    tail = sum(math.comb(up + down, k) for k in range(min(up, down) + 1)) / 2 ** (up + down)
    assert exact_mcnemar(up, down) == pytest.approx(min(1.0, 2 * tail) if up != down else 1.0)
    if up + down:
        assert exact_mcnemar(up, down) == pytest.approx(stats.binomtest(up, up + down).pvalue)


def test_items_of_their_own_are_tested_by_mcnemar():
    actual = of(2, 8, 30)
    assert (actual.test, actual.up, actual.down) == ("McNemar", 8, 2)
    assert actual.p == actual.mcnemar == pytest.approx(112 / 1024)  # 2 (1 + 10 + 45) / 2^10


def test_signs_of_single_flips_are_mcnemars():
    for up, down in ((0, 0), (3, 0), (9, 2), (40, 71)):
        sums = np.concatenate([np.ones(up), -np.ones(down)])
        assert sign_flip(sums) == pytest.approx(exact_mcnemar(up, down), rel=1e-9)


def test_flips_that_share_a_passage_are_tested_by_passage():
    reference, variant = answers(0, 12, 12)
    clusters = np.concatenate([np.arange(12) // 4, 3 + np.arange(12)])
    actual = compare(reference, variant, np.ones(24), clusters)
    assert actual.test == "sign-flip"
    assert actual.p == pytest.approx(0.25)  # three passages of four gained items: 2 of the 8 ways to give them signs
    assert actual.mcnemar == pytest.approx(2 / 2**12)
    apart = compare(reference, variant, np.ones(24), np.concatenate([np.arange(12), np.arange(12)]))
    assert apart.test == "McNemar"  # sharing with an item that did not flip changes nothing


def test_a_mass_has_no_mcnemar():
    rng = np.random.default_rng(3)
    actual = compare(*rng.random((2, 30)), np.ones(30), alone(30))
    assert (actual.test, actual.mcnemar) == ("sign-flip", None)


@pytest.mark.parametrize("sums", [[0.3, 1.2, -0.4, 0.9, 2.2], [1.0, 2.0, -3.0, 4.0, 4.0, 5.0], [0.1, 0.2, 0.3, -0.6]])
def test_signs_of_few_clusters_are_all_tried(sums):
    observed = abs(sum(sums))
    totals = [
        abs(sum(sign * abs(x) for sign, x in zip(ways, sums, strict=True)))
        for ways in itertools.product((1, -1), repeat=len(sums))
    ]
    assert sign_flip(np.array(sums)) == pytest.approx(np.mean([total >= observed - 1e-9 for total in totals]))


def test_signs_of_many_clusters_are_drawn_from_a_seed():
    sums = np.random.default_rng(4).standard_normal(40) + 0.25
    p = sign_flip(sums)
    assert p == sign_flip(sums)
    assert p != sign_flip(sums, seed=1)
    # the total is nearly normal; 10000 draws know p = 0.1 to 0.003
    assert p == pytest.approx(2 * stats.norm.sf(abs(sums.sum()) / math.sqrt((sums**2).sum())), abs=0.012)
    assert sign_flip(np.full(40, 0.7)) == 1 / 10_001  # never zero: what was observed is one of the draws


def test_nothing_changed_is_no_evidence():
    assert sign_flip(np.zeros(5)) == 1.0
    assert of(0, 0, 50).p == 1.0


def test_a_test_of_equal_variants_is_rarely_sure():
    rng, sure = np.random.default_rng(5), 0
    for _ in range(500):
        sums = rng.standard_normal(12) * np.repeat([1.0, 3.0], 6)  # clusters of unequal size, no difference
        sure += sign_flip(sums) <= 0.05
    assert 0.02 < sure / 500 < 0.08  # 5 % to 1 % (one sigma): three sigma


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.9, 0.4]) == [1.0, 1.0, 1.0]
    assert holm([0.2]) == [0.2]
    assert holm([]) == []


def test_holm_keeps_the_chance_of_any_false_alarm():
    rng = np.random.default_rng(6)
    alarms = np.mean([min(holm(rng.random(8))) < 0.05 for _ in range(2000)])
    assert alarms == pytest.approx(0.05, abs=0.015)  # three sigma of 2000 trials


def test_the_detectable_difference_is_found_four_times_of_five():
    rng = np.random.default_rng(7)
    flips, items = 0.2, 400

    def drawn(effect: float):
        change = rng.choice([-1.0, 0.0, 1.0], items, p=[(flips - effect) / 2, 1 - flips, (flips + effect) / 2])
        return compare((change < 0).astype(float), (change > 0).astype(float), np.ones(items), alone(items))

    effect = float(np.mean([drawn(0.0).detectable for _ in range(200)]))
    assert effect == pytest.approx(2.8016 * math.sqrt(flips / items), rel=0.01)  # 1.960 + 0.842, of 399 degrees
    actual = np.mean([(once := drawn(effect)).low > 0 or once.high < 0 for _ in range(1000)])
    assert actual == pytest.approx(
        0.8, abs=0.05
    )  # 1000 trials: 1.3 % a sigma; the error shrinks a little with the effect
    by_mcnemar = np.mean([drawn(effect).p < 0.05 for _ in range(1000)])
    assert by_mcnemar == pytest.approx(0.77, abs=0.06)  # an exact test is a little stricter


def test_no_flip_is_no_proof_of_equality():
    actual = of(0, 0, 100)
    assert (actual.estimate, actual.stderr) == (0.0, 0.0)
    assert -actual.low == actual.high == pytest.approx(0.0295, abs=1e-4)  # three in a hundred, the rule of three
    assert (1 - actual.high) ** 100 == pytest.approx(0.05)  # so many would show no flip once in twenty
    assert unanimous(1.0, 100) == (pytest.approx(1 - 2 * actual.high), 1.0)
    assert of(0, 40, 0).low == pytest.approx(1 - 2 * (1 - 0.05 ** (1 / 40)))


def test_no_flip_needs_six_one_way_to_show_anything():
    assert exact_mcnemar(5, 0) > 0.05 > exact_mcnemar(6, 0)
    actual = of(0, 0, 100)
    assert stats.binom.sf(5, 100, actual.detectable) == pytest.approx(0.8)
    assert of(1, 0, 99).detectable == actual.detectable  # one flip's own error would promise 2.8 points
    assert of(0, 0, 5).detectable is None
    assert stats.binom.sf(7, 100, of(0, 0, 100, level=0.99).detectable) == pytest.approx(
        0.8
    )  # 2 / 2^8 < 0.01 < 2 / 2^7


def test_one_cluster_says_nothing_of_others():
    actual = compare(*answers(1, 5, 4), np.ones(10), np.zeros(10))
    assert (actual.stderr, actual.low, actual.high, actual.detectable) == (None, None, None, None)
    assert actual.estimate == pytest.approx(0.4)
    assert actual.p == 1.0  # one sign, both ways as extreme


def test_equal_losses_promise_no_width():
    losses = np.array([3.0, 5.0, 4.0])
    actual = compare(losses, losses, np.ones(3), alone(3))
    assert (actual.estimate, actual.low, actual.high, actual.detectable, actual.p) == (0.0, None, None, None, 1.0)


def test_detectable_scales_with_the_error_and_widens_for_few_clusters():
    assert detectable(0.01, math.inf, None) == pytest.approx(0.028016, abs=1e-5)
    assert detectable(0.01, 4, None) == pytest.approx(0.01 * (2.776445 + 0.940965), abs=1e-6)  # from a table
    assert detectable(0.01, math.inf, None, level=0.9, power=0.9) == pytest.approx(
        0.01 * (1.644854 + 1.281552), rel=1e-5
    )


def test_an_average_counts_every_task_alike():
    large, small = of(300, 0, 700), of(0, 6, 4)
    actual = average([large, small])
    assert actual.estimate == pytest.approx((-0.3 + 0.6) / 2)  # all items pooled would say -0.29
    assert actual.stderr == pytest.approx(math.sqrt(large.stderr**2 + small.stderr**2) / 2)
    assert (actual.items, actual.up, actual.down) == (1010, 6, 300)
    assert actual.mcnemar is None


def test_an_average_of_like_tasks_adds_their_degrees_of_freedom():
    task = of(4, 9, 27)
    actual = average([task, task, task])
    assert actual.freedom == pytest.approx(3 * 39)
    assert actual.high - actual.estimate == pytest.approx(stats.t.ppf(0.975, 117) * task.stderr / math.sqrt(3))
    assert average([task]).p == pytest.approx(task.p, abs=0.01)  # drawn, not enumerated


def test_an_average_agrees_with_the_stratified_bootstrap():
    rng, draws, tasks = np.random.default_rng(8), 0.0, []
    for items, clusters in ((300, 90), (80, 80), (500, 140)):
        index = rng.integers(0, clusters, items)
        values = (rng.random((2, items)) < np.array([[0.5], [0.6]])).astype(float)
        tasks.append(compare(*values, np.ones(items), index))
        means = bootstrap_means(values, index, draws=6000)
        draws = draws + (means[:, 1] - means[:, 0]) / 3
    actual = average(tasks)
    # 6000 draws know the spread to 0.9 %; clusters of random size and G / (G - 1) add a percent or two
    assert actual.stderr == pytest.approx(draws.std(), rel=0.04)
    low, high = np.quantile(draws, [0.025, 0.975])
    assert (actual.low, actual.high) == (pytest.approx(low, abs=0.006), pytest.approx(high, abs=0.006))
    assert actual.p == pytest.approx(2 * stats.norm.sf(abs(actual.estimate) / actual.stderr), abs=0.02)


def test_an_average_over_a_task_of_one_cluster_has_no_interval():
    single = compare(*answers(1, 5, 4), np.ones(10), np.zeros(10))
    actual = average([of(4, 9, 27), single])
    assert (actual.stderr, actual.low, actual.high) == (None, None, None)


def test_an_interval_of_accuracies_never_leaves_what_accuracies_can_differ_by():
    reference, variant, ones = np.array([1.0, 0.0, 1.0]), np.array([0.0, 1.0, 1.0]), np.ones(3)
    actual = compare(reference, variant, ones, np.arange(3))
    assert (actual.low, actual.high) == (-1.0, 1.0)
    assert average([actual, actual]).low >= -1.0
    losses = compare(reference * 9.5, variant * 9.5, ones, np.arange(3))
    assert losses.high > 10  # nats have no bound
