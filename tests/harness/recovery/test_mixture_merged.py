"""MixLoRA trained, and merged into plain weights in the end."""

from __future__ import annotations

import copy

import pytest
import torch
from mixture_models import CASES, IDS, every_case, mixed, moved, routed, seen
from structured_models import logits
from token_rows import rows

from harness.models import checkpoint
from harness.models.anatomy import layers
from harness.models.random_llama import build
from harness.recovery import loop, objective
from harness.recovery.mixture import (
    MixtureOfLoRA,
    balance,
    merge_mixture,
    mixtures,
    routing_shares,
)
from harness.recovery.objective import precision


@every_case
def model(request):
    return CASES[request.param]()


def test_shares_are_the_mean_routing_weights(model):
    moved(mixed(model))
    with torch.no_grad():
        for mixture in mixtures(model).values():
            mixture.router.mul_(2)
    parts = [IDS[:2], IDS[2:]]
    actual = routing_shares(model, parts)
    assert actual.keys() == mixtures(model).keys()
    for index, share in actual.items():
        expected = torch.zeros(4)
        with precision(model):
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


def test_training_lowers_the_loss_and_moves_everything_it_should(tmp_path):
    model, _ = build()
    data = rows(1, low=2, high=12).repeat(4, 1, 1)

    def update(step, ids, labels):
        total = 0.0
        for part, wanted, scale in objective.parts(ids, labels):
            actual, targets = objective.response_logits(model, part, wanted)
            value = objective.loss(actual, targets, None, 0.0) * scale
            (value + 0.01 * balance(model) * len(part) / len(ids)).backward()
            total += float(value.detach())
        return loop.Update(total, ids.numel(), "mixture")

    curve = loop.train(
        mixed(model), update, data, steps=40, batch=2, learning_rate=1e-2, seed=0, scratch=tmp_path, device="cpu"
    )
    assert curve[-1][2] < 0.7 * curve[0][2]
    fresh = build()[0]
    start = mixed(fresh)
    changed = {name for name, weight in model.state_dict().items() if not torch.equal(weight, fresh.state_dict()[name])}
    assert changed == start.keys()
    shares = routing_shares(model, [IDS])
    merge_mixture(model, shares)
    assert not any(isinstance(module, MixtureOfLoRA) for module in model.modules())
