"""Refit: damped least squares of what writes to the residual stream, against closed forms."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from baselines.refit import Refit as Method
from baselines.shortgpt import ShortGPT
from harness.data.calibration import Calibration
from harness.models import checkpoint
from harness.models.anatomy import layers, linears
from harness.models.random_llama import build
from harness.pruning.extraction import Keep, extract, whole
from harness.recovery.matching import ascending, match_layers
from harness.recovery.refit_step import refitted
from harness.recovery.solve import Sums, solve
from harness.spec import Setup

TOKENS = torch.randint(2, 258, (24, 48), generator=torch.Generator().manual_seed(3))
WRITERS = ("self_attn.o_proj", "mlp.down_proj")


def problem():
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(200, 12, generator=generator, dtype=torch.float64)
    return inputs, torch.randn(200, 5, generator=generator, dtype=torch.float64)


def narrowed(share=0.5, kept=(0, 1, 2, 3, 4, 5)):
    """The tiny model with a share of its channels and half of its key-value groups.

    It has only the layers in `kept`.
    """
    model, _ = build()
    channels = torch.arange(int(160 * share))
    return extract(model, [Keep(index, groups=torch.tensor([0, 2]), channels=channels) for index in kept])


def report(model, tokens=TOKENS, **fields):
    return list(refitted(model, build()[0], tokens, **{"target": "output", "damp": 1e-2, **fields}))


def same(one, other) -> bool:
    return all(torch.equal(*pair) for pair in zip(one.state_dict().values(), other.state_dict().values(), strict=True))


def test_without_damping_it_is_least_squares():
    inputs, residual = problem()
    expected = np.linalg.lstsq(inputs.numpy(), residual.numpy(), rcond=None)[0].T
    assert np.allclose(solve(inputs.T @ inputs, inputs.T @ residual, 1e-14).numpy(), expected, atol=1e-10)


def test_damping_is_a_ridge_relative_to_the_mean_square_of_the_inputs():
    inputs, residual = problem()
    ridge = 0.3 * inputs.square().sum(0).mean().sqrt() ** 2
    stacked = np.vstack([inputs.numpy(), np.sqrt(float(ridge)) * np.eye(12)])
    wanted = np.vstack([residual.numpy(), np.zeros((12, 5))])
    expected = np.linalg.lstsq(stacked, wanted, rcond=None)[0].T
    assert np.allclose(solve(inputs.T @ inputs, inputs.T @ residual, 0.3).numpy(), expected, atol=1e-10)


def test_inputs_that_are_always_zero_change_nothing():
    assert not solve(torch.zeros(3, 3), torch.zeros(3, 2), 0.1).any()


def test_sums_in_pieces_know_the_error_of_any_change():
    inputs, target = problem()
    weight, change = torch.randn(5, 12, dtype=torch.float64), torch.randn(5, 12, dtype=torch.float64)
    sums = Sums.zeros(12, 5)
    for piece in torch.arange(200).split(37):
        sums.add(inputs[piece], inputs[piece] @ weight.T, target[piece])
    expected = (target - inputs @ (weight + change).T).square().sum()
    assert sums.left(change) == pytest.approx(float(expected), rel=1e-5)  # products in float32
    assert sums.targets == pytest.approx(float(target.square().sum()), rel=1e-5)


@pytest.mark.parametrize("target", ["output", "stream"])
@pytest.mark.parametrize("damp", [1e-6, 0.1, 10])
@pytest.mark.parametrize("kept", [(0, 1, 2, 3, 4, 5), (0, 1, 3, 5)])
def test_no_projection_gets_worse_on_the_calibration_tokens(target, damp, kept):
    actual = report(narrowed(kept=kept), target=target, damp=damp)
    assert [row["dense_layer"] for row in actual[::2]] == list(kept)
    assert all(row["after"] <= row["before"] for row in actual)
    assert any(row["after"] < 0.99 * row["before"] for row in actual)


@pytest.mark.parametrize("target", ["output", "stream"])
def test_the_reported_error_is_what_the_model_shows(target):
    """An independent statement: whole models, plain hooks, the first layer's down_proj."""
    model, (dense, _) = narrowed(), build()
    actual = report(model, target=target)

    def run(of):
        seen = {}
        layer = layers(of)[0]
        hooks = [
            layer.mlp.register_forward_hook(lambda _, __, output: seen.update(mlp=output)),
            layer.register_forward_hook(lambda _, __, output: seen.update(out=output)),
        ]
        with torch.no_grad():
            of(TOKENS)
        [hook.remove() for hook in hooks]
        return seen

    ours, theirs = run(model), run(dense)
    key = "mlp" if target == "output" else "out"
    wanted = theirs["mlp"] if target == "output" else theirs["out"] - (ours["out"] - ours["mlp"])
    left = (theirs[key] - ours[key]).square().sum() / wanted.square().sum()
    assert actual[1]["after"] == pytest.approx(float(left), rel=1e-3)  # float32


def test_a_linear_that_lost_nothing_but_order_is_solved_exactly():
    """With all channels there, a wrong down_proj is put right by undamped least squares.

    1152 tokens for 160 inputs.
    """
    model, _ = build()
    with torch.no_grad():
        layers(model)[2].mlp.down_proj.weight.mul_(0.5)
    actual = report(model, damp=1e-10)
    assert actual[5]["before"] > 0.2
    assert actual[5]["after"] < 1e-6
    expected = layers(build()[0])[2].mlp.down_proj.weight
    assert torch.allclose(layers(model)[2].mlp.down_proj.weight, expected, atol=1e-3)


@pytest.mark.parametrize("target", ["output", "stream"])
def test_a_model_that_lost_nothing_is_left_as_it_is(target):
    model, _ = build()
    report(model, target=target)
    for after, before in zip(model.parameters(), build()[0].parameters(), strict=True):
        assert torch.allclose(after, before, atol=1e-5)  # float32 rounding of the streams


def test_endless_damping_returns_the_weights_unchanged():
    model = narrowed()
    report(model, damp=1e30)
    assert same(model, narrowed())


def test_only_what_writes_to_the_stream_changes_and_hooks_are_gone():
    model, before = narrowed(), narrowed().state_dict()
    report(model)
    changed = {name for name, weight in model.state_dict().items() if not torch.equal(weight, before[name])}
    assert changed == {f"model.layers.{index}.{name}.weight" for index in range(6) for name in WRITERS}
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_refit_brings_the_outputs_nearer():
    dense, _ = build()
    pruned, refit = narrowed(0.75, (0, 1, 2, 4, 5)), narrowed(0.75, (0, 1, 2, 4, 5))
    report(refit, target="stream")
    fresh = torch.randint(2, 258, (8, 48), generator=torch.Generator().manual_seed(9))
    with torch.no_grad():
        wanted = dense(fresh).logits.log_softmax(-1)
        divergences = [
            torch.nn.functional.kl_div(each(fresh).logits.log_softmax(-1), wanted, log_target=True, reduction="sum")
            for each in (refit, pruned)
        ]
    assert divergences[0] < 0.8 * divergences[1]


def test_layers_without_attention_or_mlp_are_passed_over():
    model, _ = build()
    none = torch.arange(0)
    keeps = [*whole(model)[:2], Keep(2, groups=none), Keep(3, channels=none), Keep(5)]
    actual = report(extract(model, keeps), target="stream")
    assert [(row["dense_layer"], row["projection"]) for row in actual[4:6]] == [(2, WRITERS[1]), (3, WRITERS[0])]
    assert len(actual) == 8


def test_biases_stay():
    model, _ = build()
    for layer in layers(model):
        layer.mlp.down_proj.bias = torch.nn.Parameter(torch.ones(64))
    dense, _ = build()
    list(refitted(model, dense, TOKENS, target="output", damp=0.1))
    assert all(torch.equal(layer.mlp.down_proj.bias, torch.ones(64)) for layer in layers(model))


@pytest.mark.parametrize("kept", [(0, 2, 3, 5), (1, 4), (0, 1, 2, 3, 4)])
@pytest.mark.parametrize("named", [True, False])
def test_layers_are_matched_by_name_or_by_likeness(kept, named):
    model = narrowed(0.75, kept)
    assert model.config.kept_layers == list(kept)
    if not named:
        model.config.kept_layers = None
    assert match_layers(model, build()[0]) == list(kept)


def test_the_cheapest_ascending_choice_is_found():
    distances = torch.tensor([[5.0, 0.0, 1.0, 9.0], [0.0, 0.0, 4.0, 3.0]])
    assert ascending(distances) == [1, 3]


def test_another_hidden_size_is_refused_with_both_sizes(tiny):
    model, _ = tiny
    smaller = extract(model, whole(model), hidden=48)
    with pytest.raises(ValueError, match="hidden size 64, and the pruned model has 48"):
        match_layers(smaller, build()[0])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_result_keeps_its_dtype_and_reloads(tmp_path, tiny_folder, dtype):
    model = ShortGPT(budget=0.8).compress(build()[0], Calibration(TOKENS)).to(dtype)
    list(refitted(model, build()[0].to(dtype), TOKENS, target="stream", damp=0.1))
    checkpoint.save(model, tmp_path / "saved", tiny_folder)
    reloaded = checkpoint.load(tmp_path / "saved")
    assert {
        weight.dtype for layer in layers(reloaded) for _, linear in linears(layer) for weight in [linear.weight]
    } == {dtype}
    assert same(reloaded, model)


def test_the_method_is_one_step_with_its_calibration():
    source = {"name": "demo_instructions"}
    calibration = {"source": source, "samples": 4, "length": 8}
    setup = Setup(calibration=calibration, training=source, search_tasks=(), report_tasks=())
    (made,) = Method(target="stream", damp=0.5).stages(setup)
    assert (made.target, made.damp, made.calibration.tokens) == ("stream", 0.5, 32)
