"""Wanda-sp and FLAP against independent statements of their formulas, on every decoder family.

Budgets of all.
"""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from structured_models import TOKENS, WRITERS, compressed, every_model, every_threshold, kept_parts, made, writer_inputs

from baselines.flap import Flap, fluctuation, group_scores, standardized
from baselines.inheritune import Inheritune
from baselines.shortened_llama import ShortenedLlama
from baselines.wanda_sp import WandaSp
from harness.models.anatomy import layer_shapes, layers, parameter_count
from harness.models.layer_shape import LayerShape
from harness.pruning.budget import TOLERANCE
from harness.pruning.moments import Moments
from harness.pruning.threshold import best_parts


@every_model
def model(request):
    return made(*request.param)


EVERY = {
    "shortened_llama": ShortenedLlama,
    "inheritune": Inheritune,
    "wanda_sp": WandaSp,
    "flap": Flap,
    "flap without bias": lambda budget: Flap(budget=budget, compensate=False),
}


@pytest.mark.parametrize("budget", [0.9, 0.75])
@pytest.mark.parametrize("name", EVERY)
def test_budgets_are_met_on_every_family(name, budget, model):
    smaller, dense = compressed(EVERY[name](budget=budget), model), parameter_count(model)
    assert abs(parameter_count(smaller) - budget * dense) <= TOLERANCE * dense
    with torch.no_grad():
        assert smaller(TOKENS).logits.isfinite().all()


def test_wanda_sp_keeps_the_parts_of_most_weight_times_input_norm_layer_after_layer(model):
    """Scores by loops over columns, inputs from plain hooks on the whole, partly pruned model."""
    smaller = compressed(WandaSp(budget=0.5), model)
    shapes = layer_shapes(smaller)
    assert len({(shape.groups, shape.width) for shape in shapes}) == 1  # the same ratio everywhere
    assert shapes[0].groups < layer_shapes(model)[0].groups
    expected, pruned = [], copy.deepcopy(model)
    for index, layer in enumerate(layers(pruned)):
        inputs, parts = writer_inputs(pruned)[index], []
        for name, count in zip(WRITERS, (shapes[index].groups, shapes[index].width), strict=True):
            weight = layer.get_submodule(name).weight.detach()
            columns = [
                (weight[:, j].abs().double() * inputs[name][:, j].square().sum().sqrt()).sum().item()
                for j in range(weight.shape[1])
            ]
            size = weight.shape[1] // (model.config.num_key_value_heads if name.startswith("self") else 160)
            scores = [sum(columns[start : start + size]) for start in range(0, len(columns), size)]
            kept = sorted(sorted(range(len(scores)), key=lambda part: -scores[part])[:count])
            parts.append(kept)
            for part in set(range(len(scores))) - set(kept):
                weight[:, part * size : part * size + size] = 0
        expected.append(tuple(parts))
    assert kept_parts(smaller, model) == expected


def flap_statement(model, budget, extra=0):
    """Return per layer the kept groups and channels: FLAP in numpy, every threshold tried.

    `extra`: parameters of biases.
    """
    shape, heads, neurons = layer_shapes(model)[0], [], []
    for index, inputs in enumerate(writer_inputs(model)):
        z = {}
        for name in WRITERS:
            weight = layers(model)[index].get_submodule(name).weight.detach().double().numpy()
            metric = inputs[name].numpy().var(axis=0, ddof=1) * (weight**2).sum(axis=0)
            metric = metric**2 if name == "self_attn.o_proj" else metric
            z[name] = (metric - metric.mean()) / metric.std(ddof=1)
        heads.append(z["self_attn.o_proj"].reshape(shape.groups, -1).mean(1))
        neurons.append(z["mlp.down_proj"])
    return every_threshold(heads, neurons, shape, surplus=extra + (1 - budget) * parameter_count(model))


@pytest.mark.parametrize("compensate", [True, False])
def test_flap_keeps_what_one_threshold_over_standardized_fluctuations_leaves(model, compensate):
    smaller = compressed(Flap(budget=0.7, compensate=compensate), model)
    biases = 6 * 2 * 64 if compensate else 0
    assert kept_parts(smaller, model) == flap_statement(model, 0.7, extra=biases)
    assert len({(shape.groups, shape.width) for shape in layer_shapes(smaller)}) > 1


def test_a_group_costs_two_g_plus_two_head_dims_thirds_of_a_channel():
    for groups, queries in ((8, 1), (4, 2), (2, 4)):
        shape = layer_shapes(made(groups=groups))[0]
        assert shape.group_parameters / shape.channel_parameters == pytest.approx((2 * queries + 2) * 8 / 3)
    assert (2 * 1 + 2) * 128 / 3 == 512 / 3  # the paper's figure for LLaMA's heads


def test_fluctuation_is_the_variance_times_the_squared_norm_of_the_column():
    variance, weight = torch.tensor([2.0, 3.0]), torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    assert fluctuation(variance, weight).tolist() == [20.0, 60.0]
    squared = np.array([1.0, 4.0, 9.0, 16.0])
    z = (squared - squared.mean()) / squared.std(ddof=1)
    assert group_scores(torch.arange(1.0, 5.0), 2).tolist() == pytest.approx([z[:2].mean(), z[2:].mean()])
    assert standardized(torch.ones(5)).tolist() == [0.0] * 5


def test_moments_in_pieces_are_those_of_all_tokens():
    inputs = 1000 + torch.randn(300, 7, generator=torch.Generator().manual_seed(0))
    moments = Moments.zeros(torch.nn.Linear(7, 1))
    for piece in inputs.split(71):
        moments.add(piece[None])
    assert torch.allclose(moments.mean, inputs.double().mean(0), rtol=1e-12)
    assert torch.allclose(moments.variance, inputs.double().var(0), rtol=1e-6)  # beside a mean a thousand times larger


def test_every_layer_keeps_its_best_group_and_eight_channels_whatever_their_scores():
    shapes = [LayerShape(hidden=64, groups=4, queries=2, head_dim=8, width=40)] * 2
    groups = [torch.tensor([-9.0, -8.0, -9.5, -9.9]), torch.full((4,), 5.0)]
    channels = [torch.arange(40) - 100.0, torch.full((40,), 5.0)]
    target = sum(shape.parameters for shape in shapes) / 2 + 4 * 1024
    first, second = best_parts(groups, channels, shapes=shapes, target=target)
    assert first.groups.tolist() == [1]
    assert first.channels.tolist() == list(range(32, 40))
    assert len(second.groups) == 4


@pytest.mark.parametrize("budget", [0.8, 0.6])
def test_the_bias_removes_the_mean_error_of_what_is_written_on_calibration_inputs(model, budget):
    smaller = compressed(Flap(budget=budget), model)
    for inputs, (groups, channels), ours, theirs in zip(
        writer_inputs(model), kept_parts(smaller, model), layers(smaller), layers(model), strict=True
    ):
        size = theirs.self_attn.o_proj.in_features // model.config.num_key_value_heads
        columns = {
            "self_attn.o_proj": [group * size + offset for group in groups for offset in range(size)],
            "mlp.down_proj": channels,
        }
        for name in WRITERS:
            after, before = ours.get_submodule(name), theirs.get_submodule(name)
            error = inputs[name][:, columns[name]] @ after.weight.double().T - inputs[name] @ before.weight.double().T
            assert torch.allclose((error + after.bias.double()).mean(0), torch.zeros(64).double(), atol=1e-7)
            if len(columns[name]) < before.in_features:
                assert error.mean(0).abs().max() > 1e-4  # there was something to remove


def test_biases_count_and_without_compensation_there_are_none():
    model = made("qwen2", tied=False)
    with_bias, without = (compressed(Flap(budget=0.7, compensate=value), model) for value in (True, False))
    names = {name for name in with_bias.state_dict() if name not in without.state_dict()}
    assert names == {f"model.layers.{index}.{name}.bias" for index in range(6) for name in WRITERS}
    assert sum(with_bias.state_dict()[name].numel() for name in names) == 768
    assert (
        abs(parameter_count(with_bias) - parameter_count(without)) <= 3 * 64
    )  # a channel: the biases displaced others


def test_a_bias_that_the_model_has_is_kept_and_added_to():
    model = made("llama", attention_bias=True, mlp_bias=True)
    smaller = compressed(Flap(budget=0.8), model)
    lost = smaller.model.layers[2].mlp.down_proj.bias - model.model.layers[2].mlp.down_proj.bias
    plain = compressed(Flap(budget=0.8, compensate=False), model)
    assert lost.abs().max() > 0
    assert torch.equal(plain.model.layers[2].mlp.down_proj.bias, model.model.layers[2].mlp.down_proj.bias)
    assert abs(parameter_count(smaller) - 0.8 * parameter_count(model)) <= TOLERANCE * parameter_count(model)
