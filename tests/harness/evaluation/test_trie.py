"""Requests share prefixes in a trie.

Nothing sees what is not its own past, nothing is scored twice, nothing is read twice.
"""

from __future__ import annotations

import random

import pytest
import torch

from harness.evaluation.batches import GATHERED, WASTE, Batch, grouped, pack
from harness.evaluation.trie import BLOCK, Request, Segment, common_prefix, floor, rows

BUDGETS = [1, 60, 300, 10**6]


def draw(seed: int) -> list[Request]:
    """Requests over three tokens, so that special cases are common.

    Those are prefixes, duplicates, requests inside others, and long ones.
    """
    rng = random.Random(seed)
    words = [tuple(rng.choices(range(1, 4), k=rng.randint(1, 12 if seed % 2 else 90))) for _ in range(12)]
    requests = []
    for _ in range(rng.randint(1, 40)):
        context = sum(rng.choices(words, k=rng.randint(1, 4)), ())
        requests.append(Request(context, rng.choice(words)))
    return requests + rng.choices(requests, k=2)


def prefixes(requests: list[Request]) -> set[tuple[int, ...]]:
    """Every token sequence that has to be read."""
    return {request.inputs[: end + 1] for request in requests for end in range(len(request.inputs))}


def headed(count: int, header: int, length: int) -> list[Request]:
    """`count` questions of `length` tokens behind one header, with four answers of two tokens each."""
    start = tuple(range(1000, 1000 + header))
    return [Request(start + (100 + index,) * length, (answer, 7)) for index in range(count) for answer in range(1, 5)]


def read(batches: list[Batch]) -> list[tuple[Batch, dict[int, list[tuple[int, ...]]]]]:
    """Return per batch, for each key, the tokens that it sees in the order of their positions.

    They are found by following the masks.
    """
    actual, kept = [], []
    for batch in batches:
        nodes = batch.ids.shape[1]
        own = [None] * batch.carried + batch.ids[0].tolist()
        tokens = [token for token, _ in kept] + batch.ids[0].tolist()
        positions = [place for _, place in kept] + batch.positions[0].tolist()
        assert len(own) == len(tokens)
        results: list[list[tuple[int, int]]] = []
        for group in batch.groups:
            mask = group.mask(torch.float32, torch.device("cpu"), None)[:, 0]
            for row in range(len(group.keys)):
                for query in range(group.queries.shape[1]):
                    seen = group.keys[row][mask[row, query] == 0].tolist()
                    assert len(seen) == len(set(seen)), "no key counts twice"
                    results.append(sorted((positions[key], tokens[key]) for key in seen))
        pasts = [results[place] for place in batch.places.tolist()]
        assert len(pasts) == nodes
        actual.append((batch, pasts))
        kept = [(tokens[key], positions[key]) for key in batch.keep.tolist()]
    return actual


@pytest.mark.parametrize("budget", BUDGETS)
@pytest.mark.parametrize("seed", range(16))
def test_each_token_sees_its_own_past_and_nothing_else(seed, budget):
    requests = draw(seed)
    for batch, pasts in read(pack(requests, budget=budget)):
        whole = {}
        for place, owner in zip(batch.which.tolist(), batch.owners.tolist(), strict=True):
            whole.setdefault(owner, []).append(batch.scored[place].item())
        for owner, nodes in whole.items():
            inputs = requests[owner].inputs
            for node in nodes:
                depth = len(pasts[node])
                assert pasts[node] == list(enumerate(inputs[:depth]))
            assert sorted(len(pasts[node]) for node in nodes) == list(
                range(len(requests[owner].context), len(inputs) + 1)
            )


@pytest.mark.parametrize("budget", BUDGETS)
@pytest.mark.parametrize("seed", range(16))
def test_each_continuation_is_scored_exactly_once_and_by_one_batch(seed, budget):
    requests = draw(seed)
    scored: dict[int, list[int]] = {}
    for batch in pack(requests, budget=budget):
        assert not set(batch.requests) & set(scored), "a request is never split: what is done can be kept"
        for owner, target in sorted(zip(batch.owners.tolist(), batch.targets.tolist(), strict=True)):
            scored.setdefault(owner, []).append(target)
    assert [sorted(request.continuation) for request in requests] == [scored[index] for index in range(len(requests))]


@pytest.mark.parametrize("seed", range(16))
def test_one_batch_reads_and_scores_exactly_the_floor(seed):
    requests = draw(seed)
    [batch] = pack(requests, budget=10**6)
    least = floor(requests)
    assert (batch.ids.numel(), batch.scored.numel()) == (least.tokens, least.scores)


@pytest.mark.parametrize("budget", [100, 400, 1000])
def test_a_header_is_read_once_however_many_batches_share_it(budget):
    requests = headed(30, 300, 40)
    batches = pack(requests, budget=budget)
    assert len(batches) > 1
    answers = 3 * 2  # a batch that begins among one question's answers reads that question's last token again
    assert sum(batch.ids.numel() for batch in batches) <= floor(requests).tokens + answers * len(batches)
    assert all(batch.ids.numel() <= max(budget, 341) for batch in batches)


@pytest.mark.parametrize("seed", range(16))
def test_the_floor_counts_unique_prefixes_their_pasts_and_unique_scored_positions(seed):
    requests = draw(seed)
    heads = set()
    for request in requests:
        whole = request.context + request.continuation
        heads |= {whole[:end] for end in range(len(request.context), len(whole))}
    read_once = prefixes(requests)
    least = floor(requests)
    assert (least.tokens, least.scores) == (len(read_once), len(heads))
    assert least.pairs == sum(len(prefix) for prefix in read_once)


def test_the_floor_does_not_depend_on_the_order():
    requests = draw(3)
    assert floor(requests) == floor(random.Random(0).sample(requests, k=len(requests)))


def test_a_chain_of_batches_is_cut_where_it_would_grow_too_long():
    requests = headed(30, 300, 40)
    batches = pack(requests, budget=200, chain=900)
    lengths = []
    for batch in batches:
        if batch.carried:
            lengths[-1] += batch.ids.numel()
        else:
            lengths.append(batch.ids.numel())
    assert len(lengths) > 2
    assert max(lengths) <= 900 < 2 * min(lengths[:-1])
    check = {owner for batch in batches for owner in batch.requests}
    assert check == set(range(len(requests)))


def test_attention_multiplies_little_that_is_masked():
    for requests in (headed(40, 600, 60), headed(60, 0, 50), [Request((1,) * 20 + (2, 3) * 1000, (4,))]):
        products = sum(
            group.queries.numel() * group.keys.shape[1]
            for batch in pack(requests, budget=2048)
            for group in batch.groups
        )
        assert products <= 2.6 * floor(requests).pairs  # a plain causal square is 2, before any padding


def test_segments_stay_small_enough_for_a_cache():
    for row in rows([*headed(20, 600, 60), Request((9,) * 3000, (1,))], budget=2048):
        assert max(segment.size for segment in row.segments) <= BLOCK


def test_groups_waste_and_gather_no_more_than_they_may():
    rng = random.Random(0)
    segments = [Segment(0, list(range(rng.randint(0, 900))), size=rng.randint(1, BLOCK)) for _ in range(300)]
    groups = grouped(segments)
    assert sorted(map(id, segments)) == sorted(id(segment) for group in groups for segment in group)
    for group in groups:
        most, widest = max(one.size for one in group), max(len(one.prefix) + one.size for one in group)
        assert len(group) * widest <= GATHERED or len(group) == 1
        used = sum(one.size * (len(one.prefix) + one.size) for one in group)
        assert len(group) * most * widest <= WASTE * used


def test_a_sliding_window_hides_what_lies_behind_it():
    [batch] = pack([Request(tuple(range(1, 50)), (3,))])
    for group in batch.groups:
        mask = group.mask(torch.float32, torch.device("cpu"), 10)[0, 0]
        seen = (mask == 0).sum(dim=1)
        assert seen.tolist() == [min(position + 1, 10) for position in range(49)]
        assert (group.mask(torch.float32, torch.device("cpu"), 100) == 0).sum() == 49 * 50 / 2


def test_nothing_to_score_is_no_batch():
    assert pack([]) == []
    assert floor([]).tokens == floor([]).scores == 0


@pytest.mark.parametrize(
    ("first", "second", "count"), [((), (1,), 0), ((1, 2), (1, 2), 2), ((1, 2, 3), (1, 2), 2), ((1, 2), (2, 1), 0)]
)
def test_a_common_prefix_ends_at_the_first_difference(first, second, count):
    assert common_prefix(first, second) == count
