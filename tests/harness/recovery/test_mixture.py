"""MixLoRA: unchanged at the start, experts as their definition has them."""

from __future__ import annotations

import math

import pytest
import torch
from mixture_models import CASES, IDS, LABELS, by_hand, every_case, family, mixed, moved, routed, seen
from structured_models import logits

from harness.models.anatomy import MLP, has_mlp, layers
from harness.recovery import objective
from harness.recovery.kinds import LINEARS
from harness.recovery.mixture import (
    balance,
    imbalance,
    mixtures,
    route,
)


@every_case
def model(request):
    return CASES[request.param]()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_outputs_are_the_same_to_the_bit_until_a_step_is_taken(model, dtype):
    model = model.to(dtype)
    before = logits(model), objective.teach(model, IDS, LABELS)
    mixed(model)
    assert torch.equal(logits(model), before[0])
    assert torch.equal(objective.teach(model, IDS, LABELS), before[1])


def test_odd_widths_start_within_rounding():
    """CPU kernels compute the activation of the last few entries in another way.

    An expert gets only its own tokens, so that its last entries are other ones.
    """
    model = family("llama", intermediate_size=75)
    before = logits(model)
    mixed(model)
    assert torch.allclose(logits(model), before, atol=1e-5)


def test_before_the_first_step_the_loss_leaves_the_router_alone(model):
    """Adam takes a step of full length along any gradient, be it rounding noise."""
    weights = mixed(model)
    actual, wanted = objective.response_logits(model, IDS, LABELS)
    objective.loss(actual, wanted, None, 0.0).backward()
    assert not any(weight.grad.any() for name, weight in weights.items() if name.endswith("router"))


@pytest.mark.parametrize("targets", [LINEARS, ("gate_proj", "q_proj"), ("up_proj",), ("down_proj", "o_proj")])
@pytest.mark.parametrize("top_k", [1, 2, 4])
def test_a_mixture_is_the_weighted_sum_of_its_experts(targets, top_k):
    model = CASES["biases"]()
    moved(mixed(model, targets=targets, top_k=top_k))
    for index, (inputs, outputs) in seen(model).items():
        expected = torch.stack([by_hand(mixtures(model)[index], token) for token in inputs[:40].double()])
        assert torch.allclose(outputs[:40].double(), expected, atol=1e-4)  # float32 against float64; entries up to 20


def test_every_family_computes_its_experts(model):
    plain = logits(model)
    moved(mixed(model))
    for index, (inputs, outputs) in seen(model).items():
        expected = torch.stack([by_hand(mixtures(model)[index], token) for token in inputs[:10].double()])
        assert torch.allclose(outputs[:10].double(), expected, atol=1e-4)
    assert (logits(model) - plain).abs().max() > 0.1


def test_frozen_projections_see_every_token_once():
    model = CASES["llama"]()
    moved(mixed(model))
    calls = []
    for mixture in mixtures(model).values():
        for name in MLP:
            getattr(mixture.mlp, name).register_forward_pre_hook(
                lambda _, inputs, name=name: calls.append((name, inputs[0].shape[:-1]))
            )
    logits(model, IDS)
    assert calls == [(name, IDS.shape) for _ in layers(model) for name in MLP]


@pytest.mark.parametrize("top_k", [1, 2, 3])
def test_a_token_is_touched_by_its_top_experts_alone(top_k):
    model = CASES["llama"]()
    moved(mixed(model, top_k=top_k))
    mixture = mixtures(model)[0]  # the first: its inputs depend on no other mixture
    inputs, before = seen(model)[0]
    chosen = [routed(mixture, token) for token in inputs.double()]
    _, actual, weights = route(inputs, mixture.router, top_k)
    assert [set(row) for row in actual.tolist()] == [set(row) for row in chosen]
    assert torch.allclose(weights.sum(-1), torch.ones(len(inputs)), atol=1e-6)
    for expert in range(4):
        with torch.no_grad():
            mixture.second["up_proj"][expert] += 1
        touched = (seen(model)[0][1] != before).any(-1)
        assert touched.tolist() == [expert in row for row in chosen]
        assert 0 < touched.sum() < len(touched)
        with torch.no_grad():
            mixture.second["up_proj"][expert] -= 1
        before = seen(model)[0][1]


def test_routing_is_in_float32_under_autocast():
    tokens, router = torch.randn(2, 50, 64, generator=torch.Generator().manual_seed(0)).unbind()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        odds, _, _ = route(tokens, router[:4], 2)
    assert torch.allclose(odds, (tokens @ router[:4].T).softmax(-1), atol=1e-5)


@pytest.mark.parametrize("targets", [LINEARS, ("gate_proj", "v_proj"), ("down_proj",)])
def test_gradients_reach_what_is_trained_and_nothing_else(model, targets):
    weights = moved(mixed(model, targets=targets))
    kept = sum(map(has_mlp, layers(model)))
    attending = sum(hasattr(layer.self_attn, "q_proj") for layer in layers(model))
    inside = [name for name in targets if name in MLP]
    assert len(weights) == kept * (1 + 2 * len(inside)) + attending * 2 * (len(targets) - len(inside))
    actual, wanted = objective.response_logits(model, IDS, LABELS)
    (objective.loss(actual, wanted, None, 0.0) + balance(model)).backward()
    reached = {name for name, weight in model.named_parameters() if weight.grad is not None}
    assert reached == weights.keys() == {name for name, weight in model.named_parameters() if weight.requires_grad}
    for name, weight in weights.items():
        assert weight.grad.flatten(1).any(1).all() or "lora" in name, name  # every expert learns
        assert weight.grad.any(), name


def test_imbalance_is_its_formula():
    model = CASES["widths"]()
    moved(mixed(model))
    total = 0.0
    for index, (inputs, _) in seen(model).items():
        mixture = mixtures(model)[index]
        assigned, odds = [0] * 4, [0.0] * 4
        for token in inputs.double():
            scores = [math.exp(float(row @ token)) for row in mixture.router.detach().double()]
            for expert, score in enumerate(scores):
                odds[expert] += score / sum(scores) / len(inputs)
            for expert in routed(mixture, token):
                assigned[expert] += 1
        total += 4 * sum(share / sum(assigned) * odd for share, odd in zip(assigned, odds, strict=True))
    assert total > 3.01
    assert float(balance(model).detach()) == pytest.approx(total, rel=1e-5)  # float32 against float64


def test_imbalance_is_one_when_uniform_and_largest_when_collapsed():
    odds = torch.tensor([[0.4, 0.3, 0.2, 0.1], [0.1, 0.2, 0.3, 0.4]])
    assert float(imbalance(odds, odds.topk(2)[1])) == pytest.approx(1)
    collapsed = torch.tensor([[0.5, 0.5, 0.0, 0.0]] * 3)
    assert float(imbalance(collapsed, collapsed.topk(2)[1])) == pytest.approx(4 / 2)
    model = CASES["widths"]()
    for name, weight in mixed(model).items():
        if name.endswith("router"):
            torch.nn.init.zeros_(weight)
    logits(model)
    assert float(balance(model).detach()) == pytest.approx(3)  # mixtures: the odds of each are uniform


def test_descending_on_the_imbalance_balances():
    tokens = torch.randn(200, 16, generator=torch.Generator().manual_seed(0)) + 1
    router = torch.nn.Parameter(torch.randn(4, 16, generator=torch.Generator().manual_seed(1)))
    values = []
    for _ in range(60):
        odds, chosen, _ = route(tokens, router, 1)
        values.append(imbalance(odds, chosen))
        router.data -= torch.autograd.grad(values[-1], router)[0]
    assert values[0] > 1.3
    assert values[-1] < 1.1


def test_first_factors_start_as_pefts_and_routers_small():
    model = CASES["llama"]()
    weights = mixed(model, rank=16)
    for name, weight in weights.items():
        bound = 1 / math.sqrt(weight.shape[-1])  # kaiming uniform with a = sqrt(5)
        if ".first." in name or "lora_A" in name:
            assert 0.98 * bound < weight.abs().max() <= bound
            assert float(weight.detach().std()) == pytest.approx(bound / math.sqrt(3), rel=0.06)
        elif name.endswith("router"):
            assert float(weight.detach().std()) == pytest.approx(0.02, rel=0.15)
        else:
            assert not weight.any()


def test_a_seed_gives_the_same_tensors_under_the_same_names():
    one, two, other = (mixed(CASES["qwen3"](), seed=seed) for seed in (1, 1, 2))
    assert list(one) == list(two) == list(other)
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert not any(
        torch.equal(one[name], other[name]) for name in one if ".second." not in name and "lora_B" not in name
    )
    fresh = CASES["qwen3"]()
    state = torch.random.get_rng_state()
    mixed(fresh)
    assert torch.equal(torch.random.get_rng_state(), state)


@pytest.mark.parametrize("top_k", [0, 5])
def test_more_experts_a_token_than_there_are_is_refused(top_k):
    with pytest.raises(ValueError, match=f"top_k must lie in \\[1, 4\\], the number of experts, not {top_k}"):
        mixed(CASES["llama"](), top_k=top_k)


def test_a_mixture_without_a_target_in_the_mlp_is_refused():
    with pytest.raises(
        ValueError, match="needs a target in the MLP, one of gate_proj, up_proj, down_proj, not only q_proj"
    ):
        mixed(CASES["llama"](), targets=("q_proj",))
