"""A population is scored as a trie over layers.

The same numbers to the bit, fewer layers run, memory within its bound.
"""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch

from harness.evaluation.batches import pack
from harness.evaluation.scorer import score
from harness.evaluation.trie import Request
from harness.nas import population
from harness.nas.architecture import Architecture, Block
from harness.nas.population import layer_runs, longest_chain, score_population, spans, visits
from harness.nas.space import Space
from harness.nas.spaces import SPACES
from harness.nas.supernet import Elastic, body


@pytest.fixture
def requests() -> list[Request]:
    rng = random.Random(0)
    words = [tuple(rng.choices(range(2, 50), k=rng.randint(1, 40))) for _ in range(12)]
    return [Request(sum(rng.choices(words, k=rng.randint(1, 8)), ()), rng.choice(words)) for _ in range(20)]


@pytest.fixture(params=["fine", "llama_nas", "joint", "large"])
def candidates(tiny, request):
    """A search's first generation on the tiny model: seeds and samples, some of them twice."""
    model, _ = tiny
    space = Space(body(model, (3, 2, 4, 1)), SPACES[request.param])
    genomes = np.concatenate([space.seeds(), space.sample(5, np.random.default_rng(0))])
    actual = [space.decode(genome) for genome in genomes]
    return actual + actual[:3]


def bound(batches, share: float) -> int:
    """Bytes in which a `share` of the items' states fits at four branches."""
    return int(share * 6 * 64 * 4 * sum(batch.ids.numel() for batch in batches))


def test_each_candidate_gets_the_bits_it_gets_alone_whatever_the_memory(tiny, requests, candidates):
    model, _ = tiny
    batches = pack(requests, budget=300, chain=700)
    with Elastic(model) as elastic:
        ample, scarce = (
            dict(score_population(elastic, batches, len(requests), candidates, memory=bound(batches, share)))
            for share in (10.0, 0.4)
        )
        assert set(ample) == set(scarce) == set(candidates)
        for architecture in ample:
            elastic.activate(architecture)
            alone, _ = score(model, batches, len(requests))
            assert torch.equal(ample[architecture], alone)
            assert torch.equal(scarce[architecture], alone)


def test_layers_before_the_first_difference_run_once(tiny, requests, candidates, monkeypatch):
    model, _ = tiny
    batches = pack(requests, budget=300)
    runs, layer = [], population._layer
    monkeypatch.setattr(population, "_layer", lambda *arguments: runs.append(1) or layer(*arguments))
    with Elastic(model) as elastic:
        list(score_population(elastic, batches, len(requests), candidates))
    prefixes = {(key.hidden, key.blocks[: depth + 1]) for key in candidates for depth in key.kept()}
    alone, shared = layer_runs(visits(candidates))
    assert len(runs) == shared == len(prefixes)
    assert alone == sum(len(key.kept()) for key in set(candidates)) > shared


def test_a_candidate_is_known_as_soon_as_it_is_done(tiny, requests, candidates):
    model, _ = tiny
    with Elastic(model) as elastic:
        actual = score_population(elastic, pack(requests), len(requests), candidates)
        first, _ = next(actual)
    assert first == min(candidates)


def test_a_branch_keeps_what_later_candidates_start_from_and_no_more():
    widths = [(8, 1, 2, 3), (8, 1, 2, 4), (8, 1, 3, 3), (8, 2, 2, 2), (9, 1, 2, 3)]
    plan = visits([Architecture(hidden, tuple(Block(1, width) for width in each)) for hidden, *each in widths])
    assert [(visit.start, visit.keep) for visit in plan] == [(-1, (1, 2)), (2, ()), (1, ()), (0, ()), (-1, ())]


@pytest.mark.parametrize("share", [0.2, 0.35, 10.0])
def test_states_that_wait_stay_within_the_bound(requests, candidates, share):
    whole = sum(batch.ids.numel() for batch in pack(requests))
    plan, size = visits(candidates), 64 * 4
    memory = int(share * whole * size * 8)  # six layers, a layer's input and output
    batches = pack(requests, budget=100, chain=memory // (size * 8))
    parts = spans(plan, batches, size, memory)
    assert [batch for part in parts for batch in part] == batches
    assert len(parts) == 1 if share > 1 else 1 < len(parts) < 10
    waiting: list[int] = []
    for visit in plan:
        waiting = [depth for depth in waiting if depth <= visit.start] + list(visit.keep)
        for part in parts:
            assert sum(batch.ids.numel() for batch in part) * size * (len(waiting) + 2) <= memory


def test_a_chain_that_the_memory_holds_at_every_depth_is_asked_for(tiny):
    model, _ = tiny
    tokens = longest_chain(model, memory=10**7)
    assert tokens * 64 * 4 * (6 + 2) <= 10**7 < (tokens + 1) * 64 * 4 * (6 + 2)
