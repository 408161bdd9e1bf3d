"""Requests share prefixes in trees: nothing sees what is not its own past, nothing is scored twice, little is computed twice."""

from __future__ import annotations

import random

import pytest
import torch

from harness.evaluation.trie import LARGEST_TREE, SHARED_TOKENS, Request, common_prefix, floor_tokens, grow, pack


def draw(seed: int) -> list[Request]:
    """Requests over three tokens, so that prefixes, duplicates, and requests inside others are common."""
    rng = random.Random(seed)
    words = [tuple(rng.choices(range(1, 4), k=rng.randint(1, 12))) for _ in range(12)]
    requests = []
    for _ in range(rng.randint(1, 40)):
        context = sum(rng.choices(words, k=rng.randint(1, 4)), ())
        requests.append(Request(context, rng.choice(words)))
    return requests + rng.choices(requests, k=2)


def prefixes(requests: list[Request]) -> set[tuple[int, ...]]:
    """Every token sequence that has to be read."""
    return {request.inputs[: end + 1] for request in requests for end in range(len(request.inputs))}


def questions(count: int, answers: int, length: int) -> list[Request]:
    """`count` contexts of `length` tokens that differ from the first token on, `answers` one-token-apart answers each."""
    return [Request((100 + index,) * length, (answer, 7)) for index in range(count) for answer in range(answers)]


@pytest.mark.parametrize("seed", range(20))
def test_a_node_sees_its_ancestors_and_nothing_else(seed):
    requests = draw(seed)
    for tree in grow(requests):
        read: dict[int, tuple[int, ...]] = {}
        for index, path in tree.paths:
            for depth, node in enumerate(path):
                assert read.setdefault(node, requests[index].inputs[: depth + 1]) == requests[index].inputs[: depth + 1]
        mask = tree.mask()
        for node, past in read.items():
            assert tree.tokens[node] == past[-1]
            assert tree.positions[node] == len(past) - 1
            assert [bool(seen) for seen in mask[node]] == [
                past[: len(read[other])] == read[other] for other in range(len(tree.tokens))
            ]


@pytest.mark.parametrize("budget", [1, 60, 10**6])
@pytest.mark.parametrize("seed", range(10))
def test_a_batch_shows_each_scored_token_its_own_past(seed, budget):
    requests = draw(seed)
    for batch in pack(requests, budget=budget):
        rows, nodes = batch.ids.shape
        causal = torch.ones(nodes, nodes, dtype=torch.bool).tril().repeat(rows, 1, 1)
        mask = causal if batch.mask is None else batch.mask.squeeze(1)
        assert mask.diagonal(dim1=1, dim2=2).all()  # padding too: a softmax over nothing is NaN
        done: dict[int, int] = {}
        for place, owner in zip(batch.scored.tolist(), batch.owners.tolist(), strict=True):
            row, node = divmod(place, nodes)
            request, step = requests[owner], done.get(owner, 0)
            past = (request.context + request.continuation)[: len(request.context) + step]
            seen = mask[row, node].nonzero().flatten()
            assert sorted(zip(batch.positions[row, seen].tolist(), batch.ids[row, seen].tolist(), strict=True)) == list(
                enumerate(past)
            )
            done[owner] = step + 1


@pytest.mark.parametrize("budget", [1, 60, 10**6])
@pytest.mark.parametrize("seed", range(10))
def test_each_continuation_is_scored_exactly_once_and_in_order(seed, budget):
    requests = draw(seed)
    scored: dict[int, list[int]] = {index: [] for index in range(len(requests))}
    for batch in pack(requests, budget=budget):
        for owner, target in zip(batch.owners.tolist(), batch.targets.tolist(), strict=True):
            scored[owner].append(target)
    assert [tuple(targets) for targets in scored.values()] == [request.continuation for request in requests]


@pytest.mark.parametrize("seed", range(20))
def test_a_tree_stores_no_prefix_twice(seed):
    requests = draw(seed)
    for tree in grow(requests):
        assert len(tree.tokens) == len(prefixes([requests[index] for index, _ in tree.paths]))


@pytest.mark.parametrize("length", [1, SHARED_TOKENS, 200])
def test_answers_of_one_question_store_every_prefix_once(length):
    requests = questions(9, 5, length)
    random.Random(0).shuffle(requests)
    stored = sum(len(tree.tokens) for tree in grow(requests))
    assert stored == len(prefixes(requests)) == 9 * (length + 5)
    assert stored == floor_tokens(requests)[0]


def test_a_header_is_shared_across_questions_though_it_is_a_small_part_of_them():
    header = (5,) * SHARED_TOKENS
    requests = [Request(header + (100 + index,) * 200, (1, 2)) for index in range(3)]
    [tree] = grow(requests)
    assert len(tree.tokens) == SHARED_TOKENS + 3 * 201


def test_a_short_common_start_joins_no_strangers():
    few = (5,) * (SHARED_TOKENS - 1)
    requests = [Request(few + (100 + index,) * 200, (1, 2)) for index in range(3)]
    assert [len(tree.tokens) for tree in grow(requests)] == [SHARED_TOKENS + 200] * 3


def test_no_tree_outgrows_the_largest_unless_one_request_does():
    header = (5,) * 300
    requests = [Request(header + (100 + index,) * 150, (1, 2)) for index in range(20)]
    trees = grow([*requests, Request((9,) * (LARGEST_TREE + 50), (1,))])
    assert sum(len(tree.paths) for tree in trees) == 21
    assert [len(tree.tokens) for tree in trees if len(tree.tokens) > LARGEST_TREE] == [LARGEST_TREE + 50]
    assert max(len(tree.paths) for tree in trees) == 4  # 300 + 4 * 151 = 904 tokens; a fifth would make 1055


@pytest.mark.parametrize("budget", [1, 37, 100, 2048])
def test_a_batch_keeps_to_its_budget_unless_it_is_one_tree(budget):
    requests = draw(3) + questions(9, 3, 40)
    shapes = [batch.ids.shape for batch in pack(requests, budget=budget)]
    assert all(rows * nodes <= budget or rows == 1 for rows, nodes in shapes)
    assert sum(rows for rows, _ in shapes) == len(grow(requests))
    assert [nodes for _, nodes in shapes] == sorted(
        (nodes for _, nodes in shapes), reverse=True
    )  # memory runs out first or never


def test_a_budget_is_used_up():
    lengths = [batch.ids.shape[0] for batch in pack(questions(9, 3, 40), budget=4 * 43)]
    assert lengths == [4, 4, 1]


def test_requests_that_branch_nowhere_need_no_mask():
    chain = [Request((1, 2, 3), (4,)), Request((1, 2, 3, 4), (5, 6)), Request((1, 2, 3), (4,)), Request((9,) * 4, (1,))]
    [batch] = pack(chain)
    assert batch.mask is None
    [batch] = pack([*chain, Request((1, 2, 3), (7, 8))])
    assert batch.mask is not None


@pytest.mark.parametrize("seed", range(20))
def test_the_floor_counts_unique_prefixes_and_unique_scored_positions(seed):
    requests = draw(seed)
    heads = set()
    for request in requests:
        whole = request.context + request.continuation
        heads |= {whole[:end] for end in range(len(request.context), len(whole))}
    assert floor_tokens(requests) == (len(prefixes(requests)), len(heads))
    assert sum(len(tree.tokens) for tree in grow(requests)) >= floor_tokens(requests)[0]


def test_nothing_to_score_is_no_batch():
    assert pack([]) == []
    assert floor_tokens([]) == (0, 0)


@pytest.mark.parametrize(
    ("first", "second", "count"), [((), (1,), 0), ((1, 2), (1, 2), 2), ((1, 2, 3), (1, 2), 2), ((1, 2), (2, 1), 0)]
)
def test_a_common_prefix_ends_at_the_first_difference(first, second, count):
    assert common_prefix(first, second) == count
