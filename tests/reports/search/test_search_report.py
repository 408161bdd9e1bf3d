"""Numbers of stored searches.

What is compared, what a hypervolume counts, what a predictor and an objective are worth.
"""

import math

import numpy as np
import pytest
from stored_searches import TASKS, searched

from harness.evaluation.fronts import hypervolume
from reports import estimates
from reports.search import agreement, survivors
from reports.search.searches import band, comparable, curve, moments, strategies, whole
from reports.search.summary import problems, sentences


def test_the_hypervolume_of_the_report_is_that_of_the_search():
    search = searched()
    values = np.array([[record["fitness"], record["cost"]] for record in search["candidates"]])
    reference = np.array(search["reference"])
    areas = [hypervolume(values[: count + 1], reference) for count in range(len(values))]
    np.testing.assert_allclose(curve(search).area, areas)


def test_candidates_scored_in_part_do_not_count():
    search = searched()
    lucky = search["candidates"][20] | {"whole": False, "fitness": -5.0}
    cheated = search | {"candidates": [*search["candidates"][:20], lucky, *search["candidates"][21:]]}
    assert len(whole(cheated)) == 47
    assert curve(cheated).area[-1] <= curve(search).area[-1]


def test_candidates_are_known_one_after_the_other_or_at_the_end_of_a_batch_with_partial_scores():
    search = searched(count=20)
    np.testing.assert_allclose(moments(search), np.arange(1, 21))
    search["candidates"][3]["whole"] = False
    np.testing.assert_allclose(moments(search), [16.0] * 15 + [17, 18, 19, 20])


@pytest.mark.parametrize("name", ["problem", "space", "objective", "cost", "reference"])
def test_searches_of_different_problems_are_never_compared(name):
    one, other = searched(seed=0), searched(seed=1) | {name: [9.0, 9.0] if name == "reference" else 1}
    assert len(comparable([one, other])) == 2
    with pytest.raises(ValueError, match="comparable"):
        strategies([one, other])


def test_seeds_of_one_searcher_are_one_strategy_and_another_budget_is_another():
    group = [searched(seed=0), searched(seed=1), searched("random"), searched(seed=2, count=40)]
    named = {each.name: len(each.searches) for each in strategies(group)}
    assert named == {"linas, at most 48 evaluations": 2, "linas, at most 40 evaluations": 1, "random": 1}


def test_the_mean_over_seeds_is_a_mean_with_students_interval():
    curves = [curve(searched(seed=seed)) for seed in range(3)]
    actual, finals = band(curves), np.array([one.area[-1] for one in curves])
    assert actual.area[-1] == pytest.approx(finals.mean())
    assert actual.high is not None
    assert actual.high[-1] - actual.area[-1] == pytest.approx(4.302653 * finals.std(ddof=1) / math.sqrt(3), rel=1e-6)


def test_one_seed_has_no_interval():
    actual = band([curve(searched())])
    assert actual.low is None
    assert estimates.mean([1.0]) == estimates.Estimate(1.0, 1)


def test_the_level_to_reach_is_one_that_every_search_reached():
    (actual,) = problems([searched(seed=0), searched("random", seed=3), searched("better", skill=0.5)])
    spent = {line.strategy: line.reached.value for line in actual.lines}
    assert actual.level == min(line.hypervolume.value for line in actual.lines)
    assert min(spent.values()) < max(spent.values()) <= 48


def test_a_predictor_that_knows_only_sizes_is_worth_nothing_within_sizes():
    search = searched(count=200)
    for record in search["candidates"]:
        record["predicted"] = -record["size"] + 0.001 * (record["fitness"] * 1e4 % 1)
    actual = agreement.prediction(whole(search))
    assert actual.overall.value > 0.5
    assert abs(actual.within.value) < 0.15
    assert agreement.prediction(whole(searched(count=200))).within.value > 0.3


def test_a_good_objective_agrees_with_accuracy_in_sign_and_size_stands_beside_it():
    actual = agreement.proxy(whole(searched(count=100)))
    assert actual.objective.overall.value > 0.5
    assert actual.objective.overall.low < actual.objective.overall.value < actual.objective.overall.high
    assert actual.size.value > 0
    assert actual.objective.overall.n == 100


def test_luck_on_the_search_items_is_an_overfit_gap_and_an_honest_front_has_none():
    lucky = agreement.losses(searched(count=200, luck=1.0)).overfit
    honest = agreement.losses(searched(count=200, luck=0.0)).overfit
    assert lucky.low > 0
    assert honest.value == pytest.approx(0, abs=1e-9)


def test_the_gap_is_told_of_errors_where_accuracy_was_the_objective():
    search = searched() | {"objective": "accuracy"}
    actual = agreement.losses(search)
    assert actual.search[0] == 1 - search["candidates"][0]["accuracy"]
    assert actual.measure == "accuracy"


@pytest.mark.parametrize(("known", "measure"), [(True, "answer_kl"), (False, "choice_error")])
def test_the_gap_is_of_the_objective_where_held_out_items_have_it(known, measure):
    search = searched() | {"objective": "answer_kl"}
    for record in search["candidates"]:
        record["answer_kl"] = record["fitness"]
        record["held_out"] |= {"answer_kl": 1.0} if known else {}
    assert agreement.losses(search).measure == measure


def test_intervals_of_rank_correlations_cover_what_they_claim():
    generator, covered = np.random.default_rng(0), {"kendall": 0, "spearman": 0}
    truth = {"kendall": 2 / np.pi * np.arcsin(0.6), "spearman": 6 / np.pi * np.arcsin(0.3)}
    for _ in range(300):
        one, noise = generator.normal(size=(2, 40))
        other = 0.6 * one + 0.8 * noise
        for name in covered:
            actual = getattr(estimates, name)(one, other)
            covered[name] += actual.low <= truth[name] <= actual.high
    assert all(0.91 <= count / 300 <= 0.99 for count in covered.values()), covered


def test_a_constant_has_no_correlation():
    assert estimates.kendall(np.ones(9), np.arange(9.0)) is None
    assert estimates.spearman(np.arange(9.0), np.ones(9)) is None


def test_what_a_quadratic_in_size_explains_is_gone_after_size():
    sizes = np.linspace(0.5, 1, 20)
    np.testing.assert_allclose(estimates.after(3 - 2 * sizes + sizes**2, sizes), 0, atol=1e-9)
    np.testing.assert_allclose(estimates.after(np.arange(4.0), np.full(4, 0.8)), np.arange(4) - 1.5, atol=1e-9)


def test_the_histogram_counts_every_network_once_in_each_layer():
    records = whole(searched())
    actual = survivors.layers(records)
    np.testing.assert_allclose(actual.histogram().sum(axis=0), 1)
    assert actual.histogram()[0] == pytest.approx((actual.width == 0).mean(axis=0))
    assert actual.width.max() == 1


def test_blocks_with_single_heads_and_channels_are_read_like_others():
    records = [{"architecture": [8, [[1, 4, "1", "f"], [0, 0]]]}, {"architecture": [8, [[1, 2], [1, 8]]]}]
    actual = survivors.layers(records)
    assert actual.width.tolist() == [[1, 0], [0.5, 1]]
    assert actual.attention.tolist() == [[True, False], [True, True]]


def test_the_best_quarter_is_best_for_its_size_not_largest():
    records = whole(searched(count=200))
    best = survivors.near_front(records)
    sizes = np.array([record["size"] for record in records])
    assert best.sum() == 50
    assert abs(sizes[best].mean() - sizes.mean()) < 0.05
    assert survivors.near_front([{"fitness": 1.0, "parameters": 5}] * 8).sum() == 2


def test_tasks_that_need_late_layers_keep_late_layers():
    actual = survivors.tastes(whole(searched(count=400)), "choice_error")
    assert list(actual.tasks) == list(TASKS)
    assert actual.chosen == 100
    late = {name: widths[8:].mean() for name, widths in actual.tasks.items()}
    assert late["winogrande"] > late["arc"] + actual.error


def test_sentences_tell_every_strategy_and_explain_themselves_once():
    group = [searched(seed=0), searched(seed=1), searched("random")]
    told = sentences({"searches": group})
    assert sum("hypervolume 0" in words or "hypervolume 1" in words for words in told) == 2
    assert "linas, 2 seeds of 48 evaluations" in told[0]
    assert "Kendall τ" in told[0]
    assert sum("[95 % intervals" in words for words in told) == 1
    assert sentences({}) == []


def test_a_network_that_was_searched_untrained_has_no_curve(tmp_path):
    from harness.storage.store import Store
    from reports.run.rows import _curves

    store = Store(tmp_path)
    folder = store.folder("a" * 40)
    folder.mkdir(parents=True)
    (folder / "losses.json").write_text("[]")
    variant = {"chain": ["a" * 40], "recipe": "nas", "budget": 0.8}
    assert _curves({"variants": [variant]}, store) == {}
