"""Models that get mixtures, and what a mixture should compute, one token at a time."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from structured_models import TOKENS, made

from harness.data.calibration import IGNORED
from harness.models.anatomy import has_mlp, layers
from harness.models.per_layer import add_output_biases
from harness.pruning.extraction import Keep, extract
from harness.recovery.kinds import LINEARS
from harness.recovery.mixture import (
    add_mixture,
    mixtures,
)

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
every_case = pytest.fixture(params=[*CASES])


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
    actual = {}
    hooks = [
        mixture.register_forward_hook(
            lambda _, inputs, output, index=index: actual.update(
                {index: (inputs[0].flatten(0, 1).clone(), output.flatten(0, 1).clone())}
            )
        )
        for index, mixture in mixtures(model).items()
    ]
    model(ids)
    for hook in hooks:
        hook.remove()
    return actual


def routed(mixture, token) -> dict[int, float]:
    """Return the weights of one token's experts, by Mixtral's words: the largest, made to sum to one."""
    scores = [math.exp(float(row @ token)) for row in mixture.router.detach().double()]
    best = sorted(range(len(scores)), key=lambda expert: -scores[expert])[: mixture.top_k]
    return {expert: scores[expert] / sum(scores[one] for one in best) for expert in best}


@torch.no_grad()
def by_hand(mixture, token):
    """Return the output for one token.

    Each of its experts an MLP of its own, with merged weights, in float64.
    """
    output = 0.0
    for expert, weight in routed(mixture, token).items():
        own = copy.deepcopy(mixture.mlp).double()
        for name, first in mixture.first.items():
            change = mixture.second[name][expert].double() @ first[expert].double()
            getattr(own, name).weight += mixture.scale * change
        output += weight * own(token)
    return output
