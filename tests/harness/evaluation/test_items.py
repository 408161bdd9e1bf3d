"""Metrics and their intervals come from the stored items alone, and the intervals mean what they say."""

from __future__ import annotations

import math

import numpy as np
import pyarrow as pa
import pytest

from harness.evaluation.items import EMPTY, SCHEMA, choice_item, clustered_stderr, digest, loss_item, scores
from harness.evaluation.statistics import bootstrap_means, interval, ratio_interval
from harness.quantities import metric


def names(count: int) -> list[str]:
    return [f"question {index}" for index in range(count)]


def bits(count: int, seed: int = 0) -> np.ndarray:
    return (np.random.default_rng(seed).random(count) < 0.6).astype(float)


def row(predicted: int, normed: int, target: int, cluster: str) -> dict:
    return EMPTY | {"prediction": predicted, "prediction_norm": normed, "target": target, "cluster": cluster}


def sample(likelihoods: list[float], answers: list[str]) -> dict:
    """A multiple-choice sample as lm-eval logs it, unconditional likelihoods behind the asked ones."""
    responses = [(value, False) for value in [*likelihoods, *([-99.0] * len(likelihoods))]]
    return {"doc_id": 3, "filtered_resps": responses, "arguments": [("Q:", f" {answer}") for answer in answers]}


def test_without_shared_passages_the_error_is_the_usual_one():
    values = bits(50)
    # the same sum in another order: equal to rounding
    assert clustered_stderr(values, names(50)) == pytest.approx(values.std(ddof=1) / math.sqrt(50), rel=1e-12)


def test_copies_of_an_item_teach_nothing():
    values = bits(50)
    copied, clusters = np.repeat(values, 4), [name for name in names(50) for _ in range(4)]
    assert clustered_stderr(copied, clusters) == pytest.approx(clustered_stderr(values, names(50)), rel=1e-12)
    assert clustered_stderr(copied, clusters) > 1.9 * clustered_stderr(
        copied, names(200)
    )  # half the error, believed wrongly


def test_clusters_of_unequal_size_follow_the_published_equation():
    values, clusters = np.array([1.0, 1.0, 0.0, 1.0, 0.0, 0.0]), ["a", "b", "a", "a", "c", "b"]
    centred = values - 0.5
    pairs = sum(centred[i] * centred[j] for i in range(6) for j in range(6) if clusters[i] == clusters[j])
    # Miller, arXiv 2411.00640, eq. 4, times G / (G - 1) for G = 3 clusters so that singletons give s / sqrt(n)
    assert clustered_stderr(values, clusters) == pytest.approx(math.sqrt(pairs * 3 / 2) / 6, rel=1e-12)


@pytest.mark.parametrize(("values", "clusters"), [([1.0], ["a"]), ([1.0, 0.0], ["a", "a"]), ([1.0, 1.0], ["a", "b"])])
def test_no_spread_between_clusters_is_no_error(values, clusters):
    assert clustered_stderr(np.array(values), clusters) == 0.0


def test_accuracies_and_the_headline_error_are_recomputed_from_rows():
    rows = [row(0, 1, 0, "a"), row(1, 1, 1, "b"), row(2, 2, 0, "c"), row(0, 3, 3, "d")]
    actual = scores(rows, metric("acc"))
    assert (actual["acc"], actual["acc_norm"], actual["n"]) == (0.5, 0.5, 4)
    assert actual["stderr"] == actual["acc_stderr"] == pytest.approx(math.sqrt(1 / 3 / 4))
    rows[0]["prediction_norm"] = 0
    actual = scores(rows, metric("acc_norm"))
    assert (actual["acc"], actual["acc_norm"]) == (0.5, 0.75)
    assert actual["stderr"] == actual["acc_norm_stderr"] == pytest.approx(math.sqrt(0.25 / 4))


def test_perplexity_divides_all_loss_by_all_units():
    rows = [
        loss_item("wikitext", index, "hash", loss, units)
        for index, (loss, units) in enumerate([(30.0, 10.0), (2.0, 6.0)])
    ]
    assert scores(rows, metric("word_perplexity")) == {"word_perplexity": pytest.approx(math.exp(32 / 16)), "n": 2}


def test_a_choice_is_judged_by_its_sum_and_by_its_characters():
    answers = ["ox", "a black ox in the fog"]
    item = choice_item("piqa", sample([-4.0, -6.0], answers), choices=answers, target=1, question="Which animal?")
    assert item["loglikelihoods"] == [-4.0, -6.0]
    assert (item["prediction"], item["prediction_norm"]) == (0, 1)
    assert item["lengths"] == [2, 21]
    assert item["target"] == 1


def test_lengths_are_kept_in_characters_and_in_bytes():
    item = choice_item("piqa", sample([-1.0, -2.0], ["Äther", "air"]), choices=["Äther", "air"], target=0, question="q")
    assert item["lengths"] == [5, 3]
    assert item["byte_lengths"] == [6, 3]


def test_equal_items_have_equal_hashes_and_others_do_not():
    def made(answers: list[str], target: int, likelihoods: tuple[float, ...] = (-1.0, -2.0)) -> str:
        return choice_item("piqa", sample(list(likelihoods), answers), choices=answers, target=target, question="q")[
            "item"
        ]

    assert made(["a", "b"], 0) == made(["a", "b"], 0, (-7.0, -3.0))  # whatever a model said
    assert len({made(["a", "b"], 0), made(["a", "b"], 1), made(["b", "a"], 0), made(["a", "c"], 0)}) == 4
    assert digest("ab", "c") != digest("a", "bc")


def test_rows_survive_the_file_format():
    rows = [
        choice_item("piqa", sample([-1.0, -2.0], ["a", "b"]), choices=["a", "b"], target=0, question="q"),
        loss_item("wikitext", 1, digest("page"), 12.5, 4.0),
    ]
    assert pa.Table.from_pylist(rows, schema=SCHEMA).to_pylist() == rows


def test_equal_variants_differ_by_exactly_nothing():
    values = bits(80)
    draws = bootstrap_means(np.stack([values, values, 1 - values]), np.array(names(80)), draws=200)
    assert np.array_equal(draws[:, 0], draws[:, 1])
    assert draws[:, 0] + draws[:, 2] == pytest.approx(1.0)  # one weight matrix for all columns
    assert draws[:, 0].std() > 0.02


def test_a_cluster_is_drawn_whole():
    values, clusters = np.array([[1.0, 1.0, 1.0, 0.0, 0.0, 0.0]]), np.array(["a", "a", "a", "b", "b", "b"])
    draws = bootstrap_means(values, clusters, draws=400)
    assert set(draws[:, 0]) == {0.0, 0.5, 1.0}
    draws = bootstrap_means(values, np.array(names(6)), draws=400)
    assert len(set(draws[:, 0])) == 7


def test_same_seed_same_draws():
    values, clusters = bits(30)[None], np.array(names(30))
    assert np.array_equal(bootstrap_means(values, clusters, draws=50), bootstrap_means(values, clusters, draws=50))
    assert not np.array_equal(
        bootstrap_means(values, clusters, draws=50), bootstrap_means(values, clusters, draws=50, seed=1)
    )


def test_draws_spread_as_the_clustered_error_says():
    groups = np.random.default_rng(0).integers(0, 60, size=300)
    values = (bits(300) + groups % 2) / 2  # items of a cluster are alike
    spread = bootstrap_means(values[None], groups, draws=4000).std()
    # 4000 draws know their spread to 1.1 %; the bootstrap lacks the G / (G - 1), 0.8 %, and unequal sizes make a ratio
    assert spread == pytest.approx(clustered_stderr(values, list(groups)), rel=0.04)


def coverage(size: int, *, resample: bool, trials: int) -> float:
    """Return how often the 95 % interval holds the true accuracy.

    It is taken over sets of 100 questions, each asked `size` times.
    """
    rng, held = np.random.default_rng(0), 0
    for trial in range(trials):
        values = np.repeat((rng.random(100) < 0.6).astype(float), size)
        clusters = np.repeat(np.arange(100), size) if resample else np.arange(100 * size)
        low, high = interval(bootstrap_means(values[None], clusters, draws=400, seed=trial))
        held += low <= 0.6 <= high
    return held / trials


@pytest.mark.parametrize("size", [1, 4])
def test_an_interval_holds_the_truth_as_often_as_it_says(size):
    # 400 trials see 95 % to +- 1.1 % (one sigma), and percentile intervals of 100 bits fall short by up to a point: two
    # sigma and that; a 90 % interval would be told apart
    assert coverage(size, resample=True, trials=400) == pytest.approx(0.95, abs=0.03)


def test_ignoring_clusters_would_promise_too_much():
    # copies taken for items halve the interval: 1 sigma instead of 2 holds the truth in about 68 %
    assert coverage(4, resample=False, trials=100) < 0.75


def test_an_interval_leaves_equal_tails_outside():
    low, high = interval(np.arange(1001) / 1000, 0.9)
    assert (low, high) == (pytest.approx(0.05), pytest.approx(0.95))


def test_a_steady_ratio_has_no_width():
    noise = np.random.default_rng(0).random(9) + 0.5  # a slow round is slow for both: the ratio is paired
    assert ratio_interval(2 * noise, noise) == (2.0, 2.0, 2.0)


def test_a_ratio_is_a_median_inside_its_interval():
    rng = np.random.default_rng(0)
    ratios = np.array([1.4, 1.5, 1.6, 1.7, 9.0])  # one round was disturbed
    base = rng.random(5) + 0.5
    middle, low, high = ratio_interval(ratios * base, base)
    assert middle == pytest.approx(1.6)
    assert (low, high) == (pytest.approx(1.4), pytest.approx(9.0))  # five rounds cannot rule the outlier out
    assert (middle, low, high) == ratio_interval(ratios * base, base)


def test_many_rounds_narrow_a_ratio():
    rng = np.random.default_rng(0)
    wide, narrow = (ratio_interval(1.5 + 0.1 * rng.standard_normal(count), np.ones(count)) for count in (9, 900))
    assert wide[2] - wide[1] > 3 * (narrow[2] - narrow[1])
    # the median of 900 has a standard error of 1.25 * 0.1 / 30 = 0.004
    assert narrow[0] == pytest.approx(1.5, abs=0.013)
