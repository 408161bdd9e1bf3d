"""The search around a searcher.

Every answer kept, stages within the budget, one candidate once, picks on the budget.
"""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from harness.evaluation.scorer import score
from harness.nas import text_objective
from harness.nas.architecture import Architecture, Block
from harness.nas.controls import CONTROLS
from harness.nas.fitness import stages
from harness.nas.oracle import Oracle, drive
from harness.nas.pick import finalists
from harness.nas.ranking import sort_parts
from harness.nas.records import Records
from harness.nas.searchers.all_searchers import searcher, searchers
from harness.nas.searchers.base import Ask, Searcher
from harness.nas.space import Space
from harness.nas.spaces import axes
from harness.nas.supernet import Elastic, body, extracted
from harness.nas.tally import Item, fitness, mean, merged, tally
from harness.pruning.importance import measure

WINDOWS = torch.randint(3, 250, (16, 12), generator=torch.Generator().manual_seed(0))


@pytest.fixture
def space(tiny):
    model, _ = tiny
    return Space(body(model, (3, 2, 4, 1)), axes("fine"), lowest=0.6)


@pytest.fixture
def begin(tiny, space, tmp_path):
    """Return a function that starts an oracle over calibration text, with the records of the last one."""
    model, _ = tiny

    def start(elastic, *, evaluations=30, staged=False, name="records.jsonl", objective="kl", **more):
        chunks = text_objective.chunks(model, WINDOWS, objective)
        shares = [chunk.weight for chunk in chunks]
        records = Records(tmp_path / name)
        return Oracle(
            space, chunks, shares, elastic, records, objective=objective, evaluations=evaluations, staged=staged, **more
        )

    return start


@pytest.mark.parametrize("name", list(searchers()))
@pytest.mark.parametrize("staged", [False, True])
def test_a_killed_search_goes_on_and_repeats_no_candidate(tiny, begin, monkeypatch, name, staged):
    model, _ = tiny
    asked: list[tuple[int, Architecture]] = []

    def run(limit, path):
        original = text_objective.Chunk.score

        def scored(self, elastic, architectures):
            for architecture, actual in original(self, elastic, architectures):
                if len(asked) == limit:
                    raise KeyboardInterrupt
                asked.append((self.count, architecture))
                yield architecture, actual

        monkeypatch.setattr(text_objective.Chunk, "score", scored)
        try:
            with Elastic(model) as elastic:
                oracle = begin(elastic, staged=staged, name=path)
                drive(searcher(name, {}), oracle, np.random.default_rng(3))
                return list(oracle.candidates), oracle.objectives()[1]
        finally:
            monkeypatch.setattr(text_objective.Chunk, "score", original)

    unbroken = run(10**6, "one.jsonl")
    asked.clear()
    with pytest.raises(KeyboardInterrupt):
        run(25, "two.jsonl")
    first = list(asked)
    resumed = run(10**6, "two.jsonl")
    assert len(asked) == len(set(asked)), "no candidate is scored twice on the same items"
    assert first == asked[: len(first)]
    assert resumed[0] == unbroken[0]
    assert np.array_equal(resumed[1], unbroken[1])


def test_a_torn_last_line_is_dropped(tmp_path):
    records = Records(tmp_path / "records.jsonl")
    one = Architecture(8, (Block(1, 2), Block(0, 3, "", "b")))
    records.add(one, chunk=0, tally={"a": {"n": 1.0, "kl": 0.5}})
    records.add(one, latency=0.7)
    with (tmp_path / "records.jsonl").open("a") as stream:
        stream.write('{"architecture": [8, [[1, ')
    again = Records(tmp_path / "records.jsonl").get(one)
    assert (again.tallies, again.latency) == ({0: {"a": {"n": 1.0, "kl": 0.5}}}, 0.7)
    assert len((tmp_path / "records.jsonl").read_text().splitlines()) == 2


@pytest.mark.parametrize("staged", [False, True])
@pytest.mark.parametrize("name", list(searchers()))
def test_the_budget_is_kept(tiny, begin, name, staged):
    model, _ = tiny
    with Elastic(model) as elastic:
        oracle = begin(elastic, evaluations=25, staged=staged)
        drive(searcher(name, {}), oracle, np.random.default_rng(0))
        spent = sum(oracle.ends[one.stage] for one in oracle.candidates.values() if one.stage >= 0)
    assert oracle.spent == pytest.approx(spent)
    assert 25 <= spent < 26 + 1e-9
    if staged and name in ("random", "nsga2", "linas"):
        assert len([one for one in oracle.candidates.values() if one.stage >= 0]) > 26, "stages buy more candidates"


def test_chunks_add_up_to_the_whole(tiny, begin, space):
    """KL over nested chunks equals KL over all windows at once, computed from two plain forward passes."""
    model, _ = tiny
    one = space.decode(space.sample(1, np.random.default_rng(0))[0])
    with Elastic(model) as elastic:
        oracle = begin(elastic)
        oracle.ask(Ask(space.encode(one)[None]))
        actual = oracle.fitness(one, len(oracle.chunks) - 1)
    with torch.no_grad():
        dense, small = (m(WINDOWS).logits[:, :-1].log_softmax(-1) for m in (model, extracted(model, one)))
    expected = (dense.exp() * (dense - small)).sum(-1).mean().item()
    assert actual == pytest.approx(expected, rel=1e-3, abs=1e-5)  # float32


@pytest.mark.parametrize("name", ["fine", "joint"])
def test_a_sorted_super_network_diverges_from_the_model_in_its_own_order(tiny, name):
    """KL of sub-networks, narrow streams too, from a dense model whose entries lie in another order."""
    torch.manual_seed(2)
    dense, _ = copy.deepcopy(tiny)
    network = copy.deepcopy(dense)
    sort_parts(network, measure(network, WINDOWS), stream=True)
    with torch.no_grad():
        for weight in network.get_decoder().layers.parameters():
            weight.add_(0.05 * torch.randn_like(weight))  # as training does
    (chunk,) = text_objective.chunks(network, WINDOWS, "kl", ends=(1.0,), dense=dense)
    space = Space(body(network, (3, 2, 1)), axes(name), lowest=0.3)
    actual = [space.full(), *(space.decode(genome) for genome in space.sample(4, np.random.default_rng(0)))]
    with Elastic(network) as elastic:
        scored = {one: total["text"]["kl"] / total["text"]["n"] for one, total in chunk.score(elastic, actual)}
    with torch.no_grad():
        taught = dense(WINDOWS).logits[:, :-1].log_softmax(-1)
        for one in actual:
            told = extracted(network, one)(WINDOWS).logits[:, :-1].log_softmax(-1)
            expected = (taught.exp() * (taught - told)).sum(-1).mean().item()
            assert scored[one] == pytest.approx(expected, rel=1e-3, abs=1e-5)  # float32
    assert len({one.hidden for one in actual}) > 1 or name == "fine"


def test_perplexity_is_the_mean_loss_of_tokens(tiny, begin, space):
    model, _ = tiny
    with Elastic(model) as elastic:
        oracle = begin(elastic, objective="perplexity")
        oracle.ask(Ask(space.encode(space.full())[None]))
        actual = oracle.fitness(space.full(), len(oracle.chunks) - 1)
    with torch.no_grad():
        expected = model(WINDOWS, labels=WINDOWS).loss.item()
    assert actual == pytest.approx(expected, rel=1e-5)


def test_sizes_outside_the_range_are_refused(tiny, begin, space):
    model, _ = tiny
    tiny_one = np.zeros((1, space.genes), dtype=int)
    with Elastic(model) as elastic:
        oracle = begin(elastic)
        assert np.isinf(oracle.ask(Ask(tiny_one))).all()
        assert oracle.spent == 0
        assert not oracle.candidates


def test_a_share_of_the_items_costs_that_share(tiny, begin, space):
    model, _ = tiny
    genomes = space.sample(4, np.random.default_rng(0))
    with Elastic(model) as elastic:
        oracle = begin(elastic)
        oracle.ask(Ask(genomes, 1 / 16))
        assert oracle.spent == pytest.approx(4 / 16)
        oracle.ask(Ask(genomes[:1], 0.2))
        assert oracle.spent == pytest.approx(3 / 16 + 4 / 16)
        oracle.ask(Ask(genomes[:1], 1.0))
        assert oracle.spent == pytest.approx(3 / 16 + 1)


def test_measured_latency_is_asked_once_and_kept(tiny, begin, space):
    model, _ = tiny
    measured = []

    def stopwatch(architecture):
        measured.append(architecture)
        return 0.5

    genomes = space.sample(3, np.random.default_rng(0))
    for _ in range(2):
        with Elastic(model) as elastic:
            told = begin(elastic, latency=stopwatch).ask(Ask(genomes))
            assert (told[:, 1] == 0.5).all()
    assert len(measured) == 3


def test_latency_is_a_ratio_to_the_dense_model(tiny, space):
    from harness.nas.latency import ratio

    model, _ = tiny
    with Elastic(model) as elastic:
        assert 0 < ratio(elastic, space.smallest(), space.full()) < 5


class Stubborn(Searcher):
    """Asks for the same network again and again."""

    def explore(self, landscape, generator):
        same = Ask(landscape.seeds()[:1])
        while True:
            yield same


def test_a_search_that_finds_nothing_new_ends(tiny, begin):
    model, _ = tiny
    with Elastic(model) as elastic:
        oracle = begin(elastic)
        drive(Stubborn(), oracle, np.random.default_rng(0))
        assert oracle.spent == 1


def test_stages_hold_every_task_in_the_order_drawn():
    items = [Item(task, (index,), np.ones(1), 0) for task in "ab" for index in range(32)]
    parts = stages(items)
    assert [len(part) for part in parts] == [4, 12, 48]
    assert [item.requests[0] for item in parts[0]] == [0, 1, 0, 1]
    assert sorted(item.requests[0] for part in parts for item in part) == sorted([*range(32), *range(32)])


def test_fitness_means_over_tasks_not_over_items():
    items = [Item("a", (index * 2, index * 2 + 1), np.ones(2), 0) for index in range(3)] + [
        Item("b", (6, 7), np.ones(2), 0)
    ]
    total = tally(items, np.array([0.0, -9.0] * 3 + [-9.0, 0.0]))
    assert mean(total, "accuracy") == 0.5
    assert fitness(total, "accuracy") == 0.5
    assert merged([total, total])["a"]["n"] == 6


def test_choice_error_is_how_often_a_draw_from_the_choices_errs():
    values = np.array([-3.0, -1.0, -2.0])
    expected = 1 - np.exp(-1.0) / np.exp(values).sum()
    actual = tally([Item("a", (0, 1, 2), np.ones(3), 1)], values)
    assert actual["a"]["choice_error"] == pytest.approx(expected)
    assert actual["a"]["answer_loss"] == 1.0


def test_a_candidate_scores_what_its_extracted_copy_scores(tiny, space):
    """To the bit: the search set through a sub-network in place, and through the model cut out of it."""
    model, _ = tiny
    one = space.decode(space.sample(1, np.random.default_rng(1))[0])
    chunk = text_objective.chunks(model, WINDOWS, "perplexity", ends=(1.0,))[0]
    with Elastic(model) as elastic:
        ((_, actual),) = chunk.score(elastic, [one])
    totals, _ = score(extracted(model, one), chunk.batches, chunk.count)
    assert actual["text"]["perplexity"] == -float(totals.numpy().sum())


@pytest.mark.parametrize("name", ["fine", "llama_nas", "large"])
def test_finalists_meet_the_budget_and_include_the_controls(tiny, name):
    model, _ = tiny
    space = Space(body(model, (3, 2, 4, 1)), axes(name), lowest=0.6)
    genomes = space.sample(60, np.random.default_rng(0))
    records = [
        {
            "architecture": space.decode(genome).plain(),
            "parameters": int(size * space.body.dense),
            "fitness": 1 - size,
            "whole": True,
            "seed": False,
        }
        for genome, size in zip(genomes, space.sizes(genomes), strict=True)
    ]
    target = 0.9 * space.body.dense
    actual = finalists(space, records, target, 3)
    assert all(abs(space.body.parameters(one) - target) <= 0.005 * space.body.dense for one in actual)
    assert "search" in actual.values()
    controls = [control(space.body, target) for control in CONTROLS.values()]
    met = {one for one in controls if abs(space.body.parameters(one) - target) <= 0.005 * space.body.dense}
    assert met
    assert met <= set(actual)
