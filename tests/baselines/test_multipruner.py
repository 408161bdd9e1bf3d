"""MultiPruner against a brute-force statement of its search, and what it builds on.

Layers in parts, shared passes.
"""

from __future__ import annotations

import copy
import math

import pytest
import torch
from structured_models import MODELS, TOKENS, compressed, every_model, logits, made, places

from baselines.multipruner import MultiPruner, magnitudes
from harness.models.anatomy import has_attention, has_mlp, layer_shapes, layers, parameter_count
from harness.pruning import extraction
from harness.pruning.budget import TOLERANCE
from harness.pruning.extraction import Keep, extract
from harness.pruning.greedy import cheapest
from harness.pruning.narrowing import narrowed
from harness.pruning.relay import Relay, perplexities_without

FEW = TOKENS[:4, :24]
NONE = torch.arange(0)
STEP = 16  # channels: 160 * 1024 / 11008 = 14.9, to a multiple of 8


@every_model
def model(request):
    return made(*request.param)


def magnitude_scores(layer) -> tuple[list[float], list[float]]:
    """Return L1 norms of rows: of q, k, v by group, and of gate, up by channel.

    k and v count once for each query head.
    """
    attention, mlp = layer.self_attn, layer.mlp
    size, shape = attention.head_dim, layer_shapes_of(layer)
    groups = []
    for group in range(shape[0]):
        total = 0.0
        for head in range(group * shape[1], (group + 1) * shape[1]):
            total += attention.q_proj.weight[head * size : (head + 1) * size].abs().sum().item()
            for linear in (attention.k_proj, attention.v_proj):
                total += linear.weight[group * size : (group + 1) * size].abs().sum().item()
        groups.append(total)
    channels = [
        (mlp.gate_proj.weight[c].abs().sum() + mlp.up_proj.weight[c].abs().sum()).item()
        for c in range(len(mlp.up_proj.weight))
    ]
    return groups, channels


def parts_by_magnitude(layer) -> tuple[list[int], list[int]]:
    """Return groups and channels, the largest first."""
    return tuple(sorted(range(len(scores)), key=lambda part: -scores[part]) for scores in magnitude_scores(layer))


def layer_shapes_of(layer) -> tuple[int, int]:
    """Return key-value groups and query heads for each."""
    groups = layer.self_attn.k_proj.out_features // layer.self_attn.head_dim
    return groups, layer.self_attn.q_proj.out_features // layer.self_attn.k_proj.out_features


def test_magnitudes_are_norms_of_the_rows_that_make_a_part(model):
    for layer in layers(model):
        for ours, theirs in zip(magnitudes(layer), magnitude_scores(layer), strict=True):
            assert ours.tolist() == pytest.approx(theirs, rel=1e-5)  # float32 sums in another order


class BruteForce:
    """The search on whole models.

    What is removed writes zeros, every candidate is a pass through everything.
    """

    def __init__(self, model, budget, tokens, lazy, distribution=(44, 52, 4)):
        self.model, self.tokens, self.lazy = model, tokens, lazy
        self.order = [parts_by_magnitude(layer) for layer in layers(model)]
        shape = layer_shapes(model)[0]
        self.costs = shape.group_parameters, shape.channel_parameters
        self.norms = shape.attention_rest, shape.mlp_rest
        self.sizes = [[shape.groups, shape.width] for _ in layers(model)]
        self.dense = parameter_count(model)
        self.left = total = (1 - budget) * self.dense
        self.known, self.removed, self.trials = {}, [], 0
        depth, width, heads = (share / sum(distribution) for share in distribution)
        if depth:
            self.go(self.blocks, total * (width + heads))
        self.go(self.channels, total * heads)
        self.go(self.heads, 0)
        self.go(self.channels, 0)

    def blocks(self):
        for kind in (0, 1):
            present = [layer for layer, sizes in enumerate(self.sizes) if sizes[kind]]
            if len(present) > 1:
                yield from ((layer, kind, self.sizes[layer][kind]) for layer in present)

    def channels(self):
        for layer, (_, width) in enumerate(self.sizes):
            count = min(STEP, round(self.left / self.costs[1]), width - 8)
            if width and count > 0:
                yield layer, 1, count

    def heads(self):
        yield from ((layer, 0, 1) for layer, (groups, _) in enumerate(self.sizes) if groups > 1)

    def size(self, option):
        layer, kind, count = option
        return count * self.costs[kind] + (self.norms[kind] if count == self.sizes[layer][kind] else 0)

    def loss(self):
        smaller = copy.deepcopy(self.model)
        for layer, sizes, orders in zip(layers(smaller), self.sizes, self.order, strict=True):
            for linear, kept, order in zip((layer.self_attn.o_proj, layer.mlp.down_proj), sizes, orders, strict=True):
                unit = linear.in_features // len(order)
                with torch.no_grad():
                    for part in order[kept:]:
                        linear.weight[:, part * unit : (part + 1) * unit] = 0
        with torch.no_grad():
            return smaller(self.tokens, labels=self.tokens, use_cache=False).loss.item()

    def change(self, option, sign=1):
        self.sizes[option[0]][option[1]] -= sign * option[2]

    def go(self, options, until):
        while self.left > until:
            now, actual = self.loss(), {}
            fitting = [o for o in options() if self.size(o) - self.left < min(self.left, 0.0025 * self.dense)]

            def state(option):
                self.change(option)
                reached = (option[0], *self.sizes[option[0]])
                self.change(option, -1)
                return reached

            for option in sorted(fitting, key=lambda o: self.known.get(state(o), -math.inf)):
                if self.lazy and actual and self.known.get(state(option), -math.inf) >= min(actual.values()):
                    break
                self.change(option)
                actual[option] = self.loss() - now
                self.trials += 1
                self.change(option, -1)
                self.known[state(option)] = actual[option]
            if not actual:
                return
            best = min(actual, key=actual.get)
            self.left -= self.size(best)
            self.change(best)
            self.removed.append(best)

    def kept(self):
        return {
            layer: tuple(sorted(order[:size]) for order, size in zip(self.order[layer], sizes, strict=True))
            for layer, sizes in enumerate(self.sizes)
            if any(sizes)
        }


def kept_of(smaller, model) -> dict[int, tuple[list[int], list[int]]]:
    """Return which groups and channels of each layer stayed, found by their weights."""
    actual = {}
    for index, ours in zip(smaller.config.kept_layers, layers(smaller), strict=True):
        theirs = layers(model)[index]
        size = theirs.self_attn.head_dim
        groups = has_attention(ours) and places(
            ours.self_attn.k_proj.weight[::size], theirs.self_attn.k_proj.weight[::size]
        )
        channels = has_mlp(ours) and places(ours.mlp.gate_proj.weight, theirs.mlp.gate_proj.weight)
        actual[index] = (groups or [], channels or [])
    return actual


@pytest.mark.parametrize(("budget", "lazy"), [(0.85, True), (0.6, True), (0.75, False)])
@pytest.mark.parametrize("which", MODELS, ids=lambda which: f"{which[0]}-{which[1]}groups")
def test_the_same_parts_go_as_by_brute_force(which, budget, lazy):
    model = made(*which, num_hidden_layers=4)
    expected = BruteForce(model, budget, FEW, lazy)
    smaller = compressed(MultiPruner(budget=budget, lazy=lazy), model, FEW)
    assert kept_of(smaller, model) == expected.kept()
    assert abs(parameter_count(smaller) - budget * expected.dense) <= TOLERANCE * expected.dense
    assert len(expected.removed) > 2  # there was something to find


@pytest.mark.parametrize("distribution", [(1, 0, 0), (0, 1, 0), (0, 0, 1), (0, 2, 1), (10, 90, 0)])
def test_the_shares_of_the_stages_are_those_of_the_distribution(distribution):
    model = made(num_hidden_layers=4)
    expected = BruteForce(model, 0.7, FEW, lazy=True, distribution=distribution)
    smaller = compressed(MultiPruner(budget=0.7, distribution=distribution), model, FEW)
    assert kept_of(smaller, model) == expected.kept()
    shapes = layer_shapes(smaller)
    if not distribution[0]:
        assert all(shape.groups and shape.width for shape in shapes)
    if not distribution[2]:
        assert {shape.groups for shape in shapes} <= {0, 4}
    if distribution == (0, 0, 1):
        assert [shape.groups for shape in shapes] == [1] * 4  # all heads that may, and channels for the rest


def test_blocks_go_one_at_a_time_and_each_is_the_best_at_its_time(model):
    """The first two of a search over blocks alone, by deleting parts of real models."""

    def loss(gone):
        keeps = [
            Keep(i, groups=NONE if (i, 0) in gone else None, channels=NONE if (i, 1) in gone else None)
            for i in range(6)
            if not {(i, 0), (i, 1)} <= gone
        ]
        with torch.no_grad():
            return extract(model, keeps)(FEW, labels=FEW).loss.item()

    gone = set()
    for _ in range(2):
        gone.add(min({(i, kind) for i in range(6) for kind in (0, 1)} - gone, key=lambda block: loss(gone | {block})))
    shape = layer_shapes(model)[0]
    sizes = (shape.groups * shape.group_parameters + shape.attention_rest, 160 * 192 + 64)
    budget = 1 - sum(sizes[kind] for _, kind in gone) / parameter_count(model)
    smaller = compressed(MultiPruner(budget=budget, distribution=(1, 0, 0), lazy=False), model, FEW)
    whole = (list(range(shape.groups)), list(range(160)))
    assert kept_of(smaller, model) == {
        i: tuple([] if (i, kind) in gone else whole[kind] for kind in (0, 1))
        for i in range(6)
        if not {(i, 0), (i, 1)} <= gone
    }


@pytest.mark.parametrize("budget", [0.95, 0.4])
def test_budgets_are_met_on_every_family(budget, model):
    smaller = compressed(MultiPruner(budget=budget), model, FEW)
    assert abs(parameter_count(smaller) - budget * parameter_count(model)) <= TOLERANCE * parameter_count(model)
    assert logits(smaller).isfinite().all()
    assert all(shape.width == 0 or shape.width >= 8 for shape in layer_shapes(smaller))


def test_a_lazy_search_tries_less(monkeypatch):
    trials, loss = {}, Relay.loss
    for lazy in (True, False):
        tried = []
        monkeypatch.setattr(Relay, "loss", lambda *args, tried=tried: tried.append(1) or loss(*args))
        compressed(MultiPruner(budget=0.8, lazy=lazy), made(), FEW)
        trials[lazy] = len(tried)
    assert trials[True] < 0.7 * trials[False]


def test_what_was_dearer_is_not_tried_again_and_what_is_unknown_always_is():
    costs, tried = {}, []

    def trial(option):
        tried.append(option)
        return now[option]

    now = {"a": 3.0, "b": 1.0, "c": 2.0}
    assert cheapest("abc", costs, trial) == "b"
    assert costs == now
    tried.clear()
    now = {"a": 3.0, "c": 2.5, "d": 9.0}  # b is gone, d is new
    assert cheapest("acd", costs, trial) == "c"
    assert tried == ["d", "c"]  # a cost 3 before
    tried.clear()
    now = {"a": 3.5, "c": 4.0, "d": 9.0}
    assert cheapest("acd", costs, trial) == "a"
    assert tried == ["c", "a"]


def test_a_relay_gives_the_loss_of_the_model_with_one_layer_changed(model):
    relay = Relay(model, FEW, batch=3)
    keep = Keep(0, groups=torch.tensor([1]), channels=torch.arange(0, 160, 3))
    for index in range(6):
        expected = extract(model, [Keep(i, keep.groups, keep.channels) if i == index else Keep(i) for i in range(6)])
        with torch.no_grad():
            loss = expected(FEW, labels=FEW).loss.item()
        assert relay.loss(index, narrowed(layers(model)[index], keep)) == pytest.approx(loss, rel=1e-5)
    relay.replace(2, narrowed(layers(model)[2], keep))
    both = extract(model, [Keep(i, keep.groups, keep.channels) if i in (2, 4) else Keep(i) for i in range(6)])
    with torch.no_grad():
        loss = both(FEW, labels=FEW).loss.item()
    assert relay.loss(4, narrowed(layers(model)[4], keep)) == pytest.approx(loss, rel=1e-5)


def test_a_relay_does_not_run_the_layers_before_the_one_replaced():
    relay, runs = Relay(made(), FEW, batch=4), []
    relay.stack = [
        lambda state, layer=layer, index=index, **extra: (runs.append(index), layer(state, **extra))[1]
        for index, layer in enumerate(relay.stack)
    ]
    relay.loss(3, relay.stack[3])
    assert runs == [3, 4, 5]
    runs.clear()
    relay.replace(4, relay.stack[4])
    assert runs == [4]  # the input of the last one


def test_perplexity_without_a_layer_is_that_of_the_model_built_without_it(model):
    expected = []
    for index in range(6):
        shorter = extract(model, [Keep(i) for i in range(6) if i != index])
        with torch.no_grad():
            expected.append(shorter(FEW, labels=FEW, use_cache=False).loss.double().exp().item())
    assert perplexities_without(model, FEW).tolist() == pytest.approx(expected, rel=1e-5)  # float32


@pytest.mark.parametrize("biases", [{}, {"attention_bias": True, "mlp_bias": True}])
def test_a_narrowed_layer_computes_what_extraction_builds_and_shares_what_stays_whole(biases, model):
    model = made("llama", **biases) if biases else model
    before = copy.deepcopy(model.state_dict())
    for groups, channels in ((torch.tensor([1]), torch.arange(5, 60)), (NONE, None), (None, NONE), (NONE, NONE)):
        keep = Keep(3, groups, channels)
        one = extract(model, [*(Keep(i) for i in range(3)), keep, Keep(4), Keep(5)])
        whole = layers(model)[3]
        layers(model)[3] = narrowed(whole, keep)
        assert torch.allclose(logits(model), logits(one), atol=1e-5)
        layers(model)[3] = whole
    kept = narrowed(whole, Keep(3, None, torch.arange(8)))
    assert kept.self_attn.q_proj.weight is whole.self_attn.q_proj.weight
    assert all(torch.equal(weight, before[name]) for name, weight in model.state_dict().items())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_search_leaves_the_dense_model_as_it_is(dtype, model, monkeypatch):
    monkeypatch.setattr(extraction, "extract", lambda model, keeps, release: extract(model, keeps))  # which frees it
    model.to(dtype)
    before, config = copy.deepcopy(model.state_dict()), model.config.to_dict()
    smaller = MultiPruner(budget=0.7).compress(model, type("Any", (), {"tokens": FEW}))
    assert {weight.dtype for weight in smaller.parameters()} == {dtype}
    assert model.config.to_dict() == config
    after = model.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(weight, after[name]) for name, weight in before.items())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    assert [layer.self_attn.layer_idx for layer in layers(model)] == list(range(6))


def test_only_the_first_samples_and_tokens_are_looked_at():
    broken = torch.full((12, 32), 10**6)  # tokens that no embedding has
    broken[:4, :24] = FEW
    model = made()
    method = MultiPruner(budget=0.8, samples=4, length=24)
    assert kept_of(compressed(method, model, broken), model) == kept_of(compressed(method, model, FEW), model)


def test_blocks_that_are_gone_already_are_no_candidates():
    model = made()
    sparse = extract(model, [Keep(0, groups=NONE), Keep(1, channels=NONE), *(Keep(i) for i in range(2, 6))])
    smaller = compressed(MultiPruner(budget=0.7), sparse, FEW)
    assert abs(parameter_count(smaller) - 0.7 * parameter_count(sparse)) <= TOLERANCE * parameter_count(sparse)
    assert logits(smaller).isfinite().all()


def test_an_unreachable_budget_says_what_is_reachable():
    unseen = torch.full((4, 24), 10**6)
    with pytest.raises(
        ValueError, match="multipruner cannot meet budget=0.05: .* the nearest budget it can meet is 0.0"
    ):
        compressed(MultiPruner(budget=0.05), made(), unseen)  # before any text is looked at
    with pytest.raises(
        ValueError, match="multipruner cannot meet budget=0.1: .* the nearest budget it can meet is 0.163"
    ):
        compressed(MultiPruner(budget=0.1, distribution=(0, 1, 0)), made(), FEW)


@pytest.mark.parametrize("distribution", [(0, 0, 0), (-1, 1, 1), (1, 1)])
def test_a_distribution_without_three_shares_is_refused(distribution):
    with pytest.raises(ValueError, match="distribution"):
        MultiPruner(budget=0.8, distribution=distribution)
