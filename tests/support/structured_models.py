"""Models that structured baselines are tested on, and what their results are compared by."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from families import FAMILIES, SIZES

from harness.data.calibration import Calibration
from harness.models.anatomy import layers
from harness.pruning.budget import UNIT

TOKENS = torch.randint(2, 258, (12, 32), generator=torch.Generator().manual_seed(3))
SHAPE = {**SIZES, "num_hidden_layers": 6, "intermediate_size": 160}
MODELS = [
    ("llama", 4, True),
    ("llama", 8, False),  # no grouping
    ("mistral", 2, False),
    ("qwen2", 4, False),
    ("qwen3", 2, True),
]
every_model = pytest.fixture(
    params=MODELS, ids=lambda value: f"{value[0]}-{value[1]}groups-{'tied' if value[2] else 'untied'}"
)
WRITERS = {"self_attn.o_proj": 0, "mlp.down_proj": 1}


def made(family="llama", groups=4, tied=True, **sizes):
    """A random model of `groups` key-value heads for 8 query heads.

    Biases, where it has them, are not zero.
    """
    causal, config = FAMILIES[family]
    torch.manual_seed(0)
    model = causal(config(**{**SHAPE, "num_key_value_heads": groups, **sizes}, tie_word_embeddings=tied)).eval()
    for name, weight in model.named_parameters():
        if name.endswith("bias"):
            torch.nn.init.normal_(weight, std=0.1)
    return model


def compressed(method, model, tokens=TOKENS):
    return method.compress(copy.deepcopy(model), Calibration(tokens))


def writer_inputs(model, tokens=TOKENS) -> list[dict[str, torch.Tensor]]:
    """Return what o_proj and down_proj of each layer receive (tokens, in).

    It is seen by plain hooks on one pass of the whole model.
    """
    seen = [{} for _ in layers(model)]
    hooks = [
        layer.get_submodule(name).register_forward_pre_hook(
            lambda _, inputs, here=here, name=name: here.update({name: inputs[0].detach().flatten(0, -2).double()})
        )
        for here, layer in zip(seen, layers(model), strict=True)
        for name in WRITERS
    ]
    with torch.no_grad():
        model(tokens)
    for hook in hooks:
        hook.remove()
    return seen


def places(rows, among) -> list[int]:
    """Return where each of `rows` stands in `among`, once each."""
    same = (rows[:, None] == among[None]).all(-1)
    assert (same.sum(1) == 1).all()
    return same.int().argmax(1).tolist()


def kept_parts(smaller, model) -> list[tuple[list[int], list[int]]]:
    """Return which key-value groups and channels of `model` stayed in each layer, found by their weights."""
    actual = []
    for ours, theirs in zip(layers(smaller), layers(model), strict=True):
        size = theirs.self_attn.head_dim
        pairs = ((ours.self_attn.k_proj, theirs.self_attn.k_proj, size), (ours.mlp.gate_proj, theirs.mlp.gate_proj, 1))
        actual.append(tuple(places(after.weight[::unit], before.weight[::unit]) for after, before, unit in pairs))
    return actual


def logits(model, tokens=TOKENS):
    with torch.no_grad():
        return model(tokens).logits


def every_threshold(heads, neurons, shape, surplus) -> list[tuple[list[int], list[int]]]:
    """Return what stays of layers of `shape` when every threshold was tried.

    First for all parts, then for the channels.

    `heads` and `neurons` are scores in numpy, a layer each; the threshold comes nearest to removing `surplus` parameters.
    """

    def stays(parts, threshold, least):
        return [(layer >= threshold) | (layer >= np.sort(layer)[-least]) for layer in parts]

    def miss(groups, channels):
        gone = sum((~layer).sum() for layer in groups) * shape.group_parameters
        gone += sum((~layer).sum() for layer in channels) * shape.channel_parameters
        return abs(surplus - gone)

    both = min(np.concatenate(heads + neurons), key=lambda t: miss(stays(heads, t, 1), stays(neurons, t, UNIT)))
    groups = stays(heads, both, 1)
    own = min(np.concatenate(neurons), key=lambda t: miss(groups, stays(neurons, t, UNIT)))
    kept = zip(groups, stays(neurons, own, UNIT), strict=True)
    return [tuple(part.nonzero()[0].tolist() for part in parts) for parts in kept]
