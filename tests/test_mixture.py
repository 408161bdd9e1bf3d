"""MixLoRA: unchanged at the start, experts as their definition has them, plain weights in the end."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from structured_models import TOKENS, logits, made
from test_recovery import rows

from harness.data.calibration import IGNORED
from harness.models import checkpoint
from harness.models.per_layer import add_output_biases
from harness.models.random_llama import build
from harness.pruning.anatomy import MLP, has_mlp, layers
from harness.pruning.extraction import Keep, extract
from harness.recovery import loop, objective
from harness.recovery.mixture import (
    MixtureOfLoRA,
    add_mixture,
    balance,
    imbalance,
    merge_mixture,
    mixtures,
    route,
    routing_shares,
)
from harness.recovery.recover import LINEARS

IDS = TOKENS[:3]
LABELS = torch.where(torch.arange(32) < 10, IGNORED, IDS)


def family(name, groups=4, **sizes):
    return made(name, groups, tied=name != "mistral", **{"intermediate_size": 128, **sizes})


def widths():
    """A Qwen2 with biases everywhere, of four layers: a whole one, half an MLP, no MLP, no attention."""
    none, some = torch.arange(0), torch.arange(0, 128, 2)
    model = extract(family("qwen2"), [Keep(0), Keep(1, channels=some), Keep(2, channels=none), Keep(3, groups=none)])
    add_output_biases(model)
    for layer in layers(model):
        if has_mlp(layer):
            torch.nn.init.normal_(layer.mlp.down_proj.bias, std=0.1)
    return model


CASES = {
    "llama": lambda: family("llama"),
    "mistral": lambda: family("mistral", 2),
    "qwen2": lambda: family("qwen2"),
    "qwen3": lambda: family("qwen3"),
    "biases": lambda: family("llama", mlp_bias=True, attention_bias=True),
    "widths": widths,
}


@pytest.fixture(params=list(CASES))
def model(request):
    return CASES[request.param]()


def mixed(model, **fields):
    wanted = {"experts": 4, "top_k": 2, "rank": 3, "alpha": 6, "targets": LINEARS, "seed": 0, **fields}
    return add_mixture(model, **wanted)


@torch.no_grad()
def moved(weights):
    """As after some training: no factor is zero, and tokens go to all experts."""
    generator = torch.Generator().manual_seed(5)
    for weight in weights.values():
        weight.add_(torch.randn(weight.shape, generator=generator), alpha=0.1)
    return weights


@torch.no_grad()
def seen(model, ids=IDS):
    """Return (input, output), each (tokens, hidden), of every mixture in one forward pass, by layer."""
    found = {}
    hooks = [
        mixture.register_forward_hook(
            lambda _, inputs, output, index=index: found.update(
                {index: (inputs[0].flatten(0, 1).clone(), output.flatten(0, 1).clone())}
            )
        )
        for index, mixture in mixtures(model).items()
    ]
    model(ids)
    for hook in hooks:
        hook.remove()
    return found


def routed(mixture, token) -> dict[int, float]:
    """Return the weights of one token's experts, by Mixtral's words: the largest, made to sum to one."""
    scores = [math.exp(float(row @ token)) for row in mixture.router.detach().double()]
    best = sorted(range(len(scores)), key=lambda expert: -scores[expert])[: mixture.top_k]
    return {expert: scores[expert] / sum(scores[one] for one in best) for expert in best}


@torch.no_grad()
def by_hand(mixture, token):
    """Return the output for one token: each of its experts an MLP of its own, with merged weights, in float64."""
    output = 0.0
    for expert, weight in routed(mixture, token).items():
        own = copy.deepcopy(mixture.mlp).double()
        for name, first in mixture.first.items():
            change = mixture.second[name][expert].double() @ first[expert].double()
            getattr(own, name).weight += mixture.scale * change
        output += weight * own(token)
    return output


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_outputs_are_the_same_to_the_bit_until_a_step_is_taken(model, dtype):
    model = model.to(dtype)
    before = logits(model), objective.teach(model, IDS, LABELS)
    mixed(model)
    assert torch.equal(logits(model), before[0])
    assert torch.equal(objective.teach(model, IDS, LABELS), before[1])


def test_odd_widths_start_within_rounding():
    """CPU kernels compute the activation of the last few entries in another way, and an expert's tokens are other entries."""
    model = family("llama", intermediate_size=75)
    before = logits(model)
    mixed(model)
    assert torch.allclose(logits(model), before, atol=1e-5)


def test_before_the_first_step_the_loss_leaves_the_router_alone(model):
    """Adam takes a step of full length along any gradient, be it rounding noise."""
    weights = mixed(model)
    found, wanted = objective.response_logits(model, IDS, LABELS)
    objective.loss(found, wanted, None, 0.0).backward()
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
    _, found, weights = route(inputs, mixture.router, top_k)
    assert [set(row) for row in found.tolist()] == [set(row) for row in chosen]
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
    found, wanted = objective.response_logits(model, IDS, LABELS)
    (objective.loss(found, wanted, None, 0.0) + balance(model)).backward()
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


def test_shares_are_the_mean_routing_weights(model):
    moved(mixed(model))
    with torch.no_grad():
        for mixture in mixtures(model).values():
            mixture.router.mul_(2)
    parts = [IDS[:2], IDS[2:]]
    found = routing_shares(model, parts)
    assert found.keys() == mixtures(model).keys()
    for index, share in found.items():
        expected = torch.zeros(4)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            inputs = torch.cat([seen(model, part)[index][0] for part in parts]).float()
        for token in inputs.double():
            for expert, weight in routed(mixtures(model)[index], token).items():
                expected[expert] += weight / len(inputs)
        assert torch.allclose(share, expected, atol=1e-5)  # float32 against float64
        assert float(share.sum()) == pytest.approx(1, abs=1e-6)
        assert share.max() - share.min() > 0.02


def test_merging_a_single_expert_changes_nothing(model):
    plain = logits(model)
    moved(mixed(model, experts=1, top_k=1))
    beside = logits(model)
    shares = routing_shares(model, [IDS])
    assert all(share.tolist() == [1.0] for share in shares.values())
    merge_mixture(model, shares)
    assert (beside - plain).abs().max() > 0.1
    assert torch.allclose(logits(model), beside, atol=1e-5, rtol=1e-5)  # logits up to 30 in float32


def test_merging_adds_each_expert_by_its_share_and_leaves_a_plain_checkpoint(model, tmp_path, tiny_folder):
    before = copy.deepcopy(model)
    objects = [layer.mlp for layer in layers(model)]
    factors = {name: weight.detach().clone() for name, weight in moved(mixed(model)).items()}
    shares = {index: torch.tensor([0.4, 0.3, 0.2, 0.1]).roll(index) for index in mixtures(model)}
    merge_mixture(model, shares)
    assert all(layer.mlp is mlp for layer, mlp in zip(layers(model), objects, strict=True))
    assert [type(module) for module in model.modules()] == [type(module) for module in before.modules()]
    assert model.state_dict().keys() == before.state_dict().keys()
    assert not any(weight.requires_grad for weight in model.parameters())
    for name, weight in before.state_dict().items():
        module = name.removesuffix(".weight")
        mlp, _, projection = module.rpartition(".")
        if name.endswith("_proj.weight") and mlp.endswith("mlp"):
            for expert, share in enumerate(shares[int(name.split(".")[2])]):
                product = factors[f"{mlp}.second.{projection}"][expert] @ factors[f"{mlp}.first.{projection}"][expert]
                weight = weight + share * 2 * product
        elif name.endswith("_proj.weight"):
            lora = [factors[f"{module}.lora_{part}.default.weight"] for part in "BA"]
            weight = weight + 2 * lora[0] @ lora[1]
        assert torch.allclose(model.state_dict()[name], weight, atol=1e-6), name  # sums in another order
    checkpoint.save(model, tmp_path / "saved", tiny_folder)
    assert torch.equal(logits(checkpoint.load(tmp_path / "saved")), logits(model))


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


def trained(scratch, *, data=None, steps=6, dies_at=None, rate=1e-2):
    """Train as Recover does, with the imbalance in the loss; return the model, with its mixtures, and the curve."""
    scratch.mkdir(exist_ok=True)
    model, _ = build()

    def update(step, ids, labels):
        if step == dies_at:
            raise KeyboardInterrupt
        total = 0.0
        for part, wanted, scale in objective.parts(ids, labels):
            found, targets = objective.response_logits(model, part, wanted)
            value = objective.loss(found, targets, None, 0.0) * scale
            (value + 0.01 * balance(model) * len(part) / len(ids)).backward()
            total += float(value.detach())
        return loop.Update(total, ids.numel(), "mixture")

    data = rows() if data is None else data
    curve = loop.train(
        mixed(model), update, data, steps=steps, batch=2, learning_rate=rate, seed=0, scratch=scratch, device="cpu"
    )
    return model, curve


def test_training_lowers_the_loss_and_moves_everything_it_should(tmp_path):
    model, curve = trained(tmp_path / "work", data=rows(1, low=2, high=12).repeat(4, 1, 1), steps=40)
    assert curve[-1][2] < 0.7 * curve[0][2]
    fresh = build()[0]
    start = mixed(fresh)
    changed = {name for name, weight in model.state_dict().items() if not torch.equal(weight, fresh.state_dict()[name])}
    assert changed == start.keys()
    shares = routing_shares(model, [IDS])
    merge_mixture(model, shares)
    assert not any(isinstance(module, MixtureOfLoRA) for module in model.modules())


@pytest.mark.parametrize("killed", [1, 3, 5])
def test_a_killed_training_resumes_to_the_bits_of_an_unbroken_one(tmp_path, monkeypatch, killed):
    whole, curve = trained(tmp_path / "whole")
    monkeypatch.setattr(loop, "SAVE_SECONDS", -1)
    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path / "broken", dies_at=killed)
    monkeypatch.setattr(loop, "SAVE_SECONDS", 1e9)
    resumed, again = trained(tmp_path / "broken")
    assert again == curve
    for model in (whole, resumed):
        merge_mixture(model, routing_shares(model, [IDS]))
    assert all(torch.equal(*pair) for pair in zip(whole.parameters(), resumed.parameters(), strict=True))
