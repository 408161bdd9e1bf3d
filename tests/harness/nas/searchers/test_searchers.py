"""Every searcher keeps the promises of the interface on a synthetic landscape, and each its own."""

from __future__ import annotations

import itertools
from functools import cache

import numpy as np
import pytest
from hills import Hills
from scipy.stats import kendalltau

from harness.evaluation.fronts import front, hypervolume
from harness.nas.searchers import crowding
from harness.nas.searchers.all_searchers import searcher, searchers
from harness.nas.searchers.archive import Archive
from harness.nas.searchers.base import Ask
from harness.nas.searchers.knapsack import knapsack
from harness.nas.searchers.levels import TOLERANCE
from harness.nas.searchers.local import neighbours

REFERENCE = np.array([2.0, 1.02])
QUICK = {"linas": {"predicted": 600}}  # settings under which a contract test takes seconds


def driven(name, land, budget, *, seed=0, refuse=lambda genome: False, asks=400, **fields):
    """Return the asks with what was told for each.

    They end once `budget` distinct genomes were asked, or after `asks` asks.
    """
    exploration = searcher(name, {**QUICK.get(name, {}), **fields}).explore(land, np.random.default_rng(seed))
    actual: list[tuple[Ask, np.ndarray]] = []
    known = set()
    ask = next(exploration)
    while True:
        assert len(ask.genomes)
        genomes = land.canonical(ask.genomes)
        told = np.column_stack([land.fitness(genomes), land.sizes(genomes) ** (1 if land.exact else 1.3)])
        told[[refuse(genome) for genome in genomes]] = np.inf
        actual.append((ask, told))
        known |= set(map(bytes, genomes))
        if len(known) >= budget or len(actual) >= asks:
            exploration.close()
            return actual
        ask = exploration.send(told)


def measured(actual, land):
    """Return the objectives (n, 2) of the distinct genomes that were asked, in order."""
    genomes = np.concatenate([land.canonical(ask.genomes) for ask, _ in actual])
    _, first = np.unique(genomes, axis=0, return_index=True)
    return np.concatenate([told for _, told in actual])[np.sort(first)]


@cache
def hills():
    return Hills()


@cache
def contract(name):
    return driven(name, hills(), 250)


every = pytest.mark.parametrize("name", searchers())


@every
def test_asks_only_for_genomes_of_the_space(name):
    for ask, _ in contract(name):
        assert ask.genomes.dtype.kind == "i"
        assert ask.genomes.shape[1] == hills().genes
        assert (ask.genomes >= 0).all()
        assert (ask.genomes <= hills().upper()).all()


@every
def test_begins_with_all_seeds(name):
    first, _ = contract(name)[0]
    assert first.seeded
    assert np.array_equal(first.genomes, hills().seeds())
    assert not any(ask.seeded for ask, _ in contract(name)[1:])


@every
def test_the_same_answers_ask_for_the_same_genomes(name):
    again, other = driven(name, hills(), 250), driven(name, hills(), 60, seed=1)
    assert len(again) == len(contract(name))
    for (ask, _), (repeated, _) in zip(contract(name), again, strict=True):
        assert np.array_equal(ask.genomes, repeated.genomes)
        assert (ask.share, ask.notes) == (repeated.share, repeated.notes)
    pairs = zip(contract(name), other, strict=False)
    assert name == "puzzle" or any(not np.array_equal(one.genomes, two.genomes) for (one, _), (two, _) in pairs)


@every
def test_finds_250_distinct_genomes(name):
    assert len(measured(contract(name), hills())) >= 250


@every
def test_an_exhausted_space_leaves_the_end_to_the_driver(name):
    land = Hills(layers=2, drops=1, levels=2)
    assert len(driven(name, land, 1000, asks=25)) == 25


@every
@pytest.mark.parametrize("rule", ["a third", "all but the seeds", "all"])
def test_survives_refused_genomes(name, rule):
    land = hills()
    seeds = set(map(bytes, land.seeds()))
    refuse = {
        "a third": lambda genome: genome.sum() % 3 == 0,
        "all but the seeds": lambda genome: bytes(genome) not in seeds,
        "all": lambda genome: True,
    }[rule]
    actual = driven(name, land, 120, refuse=refuse)
    assert len(measured(actual, land)) >= 120


@every
def test_searches_when_costs_must_be_measured(name):
    land = Hills(exact=False)
    assert len(measured(driven(name, land, 120), land)) >= 120


def test_an_unknown_searcher_or_setting_is_told_its_nearest():
    with pytest.raises(ValueError, match="did you mean linas"):
        searcher("lina", {})
    with pytest.raises(ValueError, match="did you mean population"):
        searcher("nsga2", {"populaton": 8})
    with pytest.raises(ValueError, match="greater than or equal to 4"):
        searcher("nsga2", {"population": 1})


def test_hypervolume_as_by_hand():
    objectives = np.array([[1.0, 3.0], [2.0, 2.0], [2.5, 2.5], [3.0, 1.0], [np.inf, np.inf], [9.0, 0.0]])
    reference = np.array([4.0, 4.0])
    areas = [hypervolume(objectives[:count], reference) for count in range(1, 7)]
    assert areas == [3, 5, 5, 6, 6, 6]  # columns of width 1 under the staircase: 3, 2, 1
    assert front(objectives).tolist() == [True, True, False, True, False, True]
    assert crowding.ranks(objectives).tolist() == [0, 0, 1, 0, 2, 0]


def test_crowding_as_by_hand():
    objectives = np.array([[0.0, 10.0], [1.0, 8.0], [5.0, 5.0], [10.0, 0.0], [8.0, 10.0], [10.0, 8.0], [np.inf] * 2])
    expected = [np.inf, 0.5 + 0.5, 0.9 + 0.8, np.inf, np.inf, np.inf, 0]
    assert crowding.crowding(objectives) == pytest.approx(expected)
    assert sorted(crowding.spread(objectives, 3)) == [0, 2, 3]
    assert crowding.order(objectives)[-3:].tolist() == [4, 5, 6]


def test_linas_notes_what_it_expected():
    notes = [(ask, told) for ask, told in contract("linas") if ask.notes]
    assert len(notes) == len(contract("linas")) - 2  # the seeds and the first sample have no predictor
    taus = [kendalltau(ask.notes["predicted"], told[:, 0]).statistic for ask, told in notes]
    assert np.mean(taus) > 0.9


def test_linas_never_asks_for_a_known_network():
    genomes = np.concatenate([hills().canonical(ask.genomes) for ask, _ in contract("linas")])
    assert len(np.unique(genomes, axis=0)) == len(genomes)


def test_linas_after_100_evaluations_beats_random_after_250():
    def area(name, budget, seed):
        land = hills()
        return hypervolume(measured(driven(name, land, budget, seed=seed), land)[:budget], REFERENCE)

    seeds = range(3)
    linas, random = (np.mean([area(*case, seed) for seed in seeds]) for case in (("linas", 100), ("random", 250)))
    assert linas > random


def test_children_of_evolution_keep_the_size():
    asked = [ask for ask, _ in contract("evolution")[1:] if ask.share < 1]
    assert len(asked) > 20
    for ask in asked:
        gaps = np.abs(hills().sizes(ask.genomes)[:, None] - np.array([0.9, 0.8, 0.7]))
        assert (gaps.min(axis=1) <= TOLERANCE).all()


def test_evolution_serves_every_level_and_never_loses_its_best():
    whole = [told[-1, 0] for ask, told in contract("evolution")[1:] if ask.share == 1]  # the parent comes last
    assert len(whole) >= 9
    for level in range(3):
        parents = whole[level::3][1:]
        assert parents == sorted(parents, reverse=True)
        assert parents[-1] < parents[0]


@pytest.mark.parametrize("limit", [6.5, 7.5, 12.0])
def test_the_knapsack_is_optimal(limit):
    generator = np.random.default_rng(0)
    genes = np.repeat(np.arange(5), 4)
    losses, sizes = generator.random(20), generator.random(20) * 4
    rows = [np.array(rows) for rows in itertools.product(*np.arange(20).reshape(5, 4))]
    fitting = [losses[row].sum() for row in rows if sizes[row].sum() <= limit]
    assert losses[knapsack(losses, sizes, genes, limit)].sum() == pytest.approx(min(fitting))


def test_a_knapsack_that_nothing_fits_has_no_solution():
    assert knapsack(np.ones(2), np.ones(2), np.array([0, 1]), 1.5) is None


def test_puzzle_is_optimal_where_losses_add_up():
    class Additive(Hills):
        def fitness(self, genomes):
            missing = 1 - self._kept(genomes)
            return missing**1.5 @ self.need

    land = Additive(layers=5, drops=0, levels=4)
    space = np.array(list(itertools.product(*(range(top + 1) for top in land.upper()))))
    asked = measured(driven("puzzle", land, 60, levels_per_gene=3, grid=4), land)
    for level in np.linspace(land.sizes(land.seeds()).min(), 1, 5):
        fits = land.sizes(space) <= level + 1e-9
        actual = asked[asked[:, 1] <= level + 1e-9, 0].min()
        assert actual == pytest.approx(land.fitness(space[fits]).min())


def test_the_archive_holds_each_network_once():
    land, archive = hills(), Archive(hills())
    twins = np.zeros((2, land.genes), dtype=int)
    twins[:, 0] = land.drops
    twins[1, 1 + land.order[0]] = 3  # a dropped layer's width means nothing
    archive.add(twins, np.ones((2, 2)))
    assert len(archive.genomes) == 1
    assert not len(archive.fresh(twins))


def test_local_search_asks_for_neighbours_of_the_front_that_it_was_told():
    actual = driven("local", hills(), 250)
    genomes, objectives = hills().canonical(actual[0][0].genomes), actual[0][1]
    for ask, told in actual[1:]:
        front_ = genomes[(crowding.ranks(objectives) == 0) & np.isfinite(objectives).all(axis=1)]
        children = ask.genomes
        apart = (children[:, None] != front_[None]).sum(axis=2).min(axis=1)
        assert (apart <= 1).all()
        genomes, objectives = np.concatenate([genomes, hills().canonical(children)]), np.concatenate([objectives, told])


def test_a_neighbour_has_one_other_gene_and_every_other_value_alike():
    upper, generator = np.array([3, 0, 1]), np.random.default_rng(0)
    parents = np.tile([1, 0, 1], (6000, 1))
    children = neighbours(parents, upper, generator)
    assert ((children != parents).sum(axis=1) == 1).all()
    values, counts = np.unique(children[children[:, 0] != 1][:, 0], return_counts=True)
    assert values.tolist() == [0, 2, 3]
    assert np.abs(counts / counts.sum() - 1 / 3).max() < 0.05
