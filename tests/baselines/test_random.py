"""The control by chance: seeded, of every layer alike, and blind to the weights."""

from __future__ import annotations

import torch
from structured_models import compressed, made

from baselines.random import Random
from harness.models.anatomy import layer_shapes, layers


def test_a_seed_is_a_draw_and_another_seed_another():
    one, again, other = (compressed(Random(budget=0.7, seed=seed), made()) for seed in (1, 1, 2))
    weights = [torch.cat([weight.flatten() for weight in model.parameters()]) for model in (one, again, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_every_layer_loses_the_same_share():
    shapes = layer_shapes(compressed(Random(budget=0.7), made()))
    assert len({(shape.groups, shape.width) for shape in shapes}) == 1


def test_the_draw_knows_no_weights():
    large = made()
    with torch.no_grad():
        for layer in layers(large):
            layer.mlp.up_proj.weight[:40] *= 1000
    smaller = [compressed(Random(budget=0.7), model) for model in (made(), large)]
    kept = [(layers(model)[2].mlp.gate_proj.weight) for model in smaller]
    assert torch.equal(*kept)
