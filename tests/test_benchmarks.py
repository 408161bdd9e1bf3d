"""Benchmarks of the hot paths (pytest-benchmark).

`pytest tests/test_benchmarks.py --benchmark-only --benchmark-compare`.

Nothing here asserts a time: the figures are for comparing two commits on one quiet machine.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch

from harness.doctor.flops import counting, floor_flops
from harness.evaluation.batches import pack
from harness.evaluation.scorer import score
from harness.evaluation.trie import Request, floor
from harness.nas.population import layer_runs, score_population, visits
from harness.nas.space import Space
from harness.nas.spaces import axes
from harness.nas.supernet import Elastic, body
from harness.pruning.masks import lowest, n_of_m


@pytest.fixture
def requests():
    """64 items of four answers over shared contexts, the shape of a multiple-choice task."""
    generator = np.random.default_rng(0)
    made = []
    for _ in range(64):
        context = tuple(generator.integers(2, 258, generator.integers(20, 60)).tolist())
        made += [
            Request(context, tuple(generator.integers(2, 258, generator.integers(2, 12)).tolist())) for _ in range(4)
        ]
    return made


def test_packing(benchmark, requests):
    batches = benchmark(pack, requests)
    assert sum(batch.ids.numel() for batch in batches) <= 1.01 * floor(requests).tokens


def test_scoring_a_packed_trie(benchmark, tiny, requests):
    """FLOPs over the floor are in `extra_info`, and may not pass 1.15; the time is for comparing commits."""
    model, _ = tiny
    batches = pack(requests)
    totals, _ = benchmark(score, model, batches, len(requests))
    with counting() as counter:
        score(model, batches, len(requests))
    benchmark.extra_info["flops_over_floor"] = counter.get_total_flops() / floor_flops(model, floor(requests))
    assert benchmark.extra_info["flops_over_floor"] <= 1.15
    assert torch.isfinite(totals).all()


@pytest.fixture
def population(tiny):
    model, _ = tiny
    space = Space(body(model, (3, 2, 4, 1)), axes("fine"))
    genomes = np.concatenate([space.seeds(), space.sample(16, np.random.default_rng(0))])[:32]
    return [space.decode(genome) for genome in genomes]


def test_scoring_a_population_as_a_trie(benchmark, tiny, requests, population):
    model, _ = tiny
    requests = requests[:64]
    batches = pack(requests)
    alone, shared = layer_runs(visits(population))
    benchmark.extra_info["layers_one_by_one_over_trie"] = alone / shared
    with Elastic(model) as elastic:
        actual = benchmark(lambda: list(score_population(elastic, batches, len(requests), population)))
    assert len(actual) == len(set(population))


def test_scoring_a_population_one_by_one(benchmark, tiny, requests, population):
    """The plain way, for the ratio to the one above."""
    model, _ = tiny
    requests = requests[:64]
    batches = pack(requests)

    def each() -> int:
        for architecture in set(population):
            elastic.activate(architecture)
            score(model, batches, len(requests))
        return len(set(population))

    with Elastic(model) as elastic:
        assert benchmark(each) == len(set(population))


def test_scoring_one_request_at_a_time(benchmark, tiny, requests):
    """The plain way, for the ratio to the one above."""
    model, _ = tiny
    single = [pack([request])[0] for request in requests]
    totals = benchmark(lambda: [score(model, [batch], 1)[0] for batch in single])
    assert len(totals) == len(requests)


def test_switching_sub_networks(benchmark, tiny):
    model, _ = tiny
    space = Space(body(model, (3, 2, 4, 1)), axes("fine"))
    two = [space.decode(genome) for genome in space.sample(2, np.random.default_rng(0))]
    with Elastic(model) as elastic:
        benchmark(lambda: [elastic.activate(architecture) for architecture in two])


@pytest.mark.parametrize("cut", ["lowest", "two_of_four"])
def test_masks_of_a_projection(benchmark, cut):
    scores = torch.rand(1536, 576, generator=torch.Generator().manual_seed(0))
    mask = benchmark(lowest, scores, 0.5) if cut == "lowest" else benchmark(n_of_m, scores, 2, 4)
    assert mask.float().mean() == 0.5
