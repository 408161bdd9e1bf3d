"""SparseGPT and its kin on tiny models of every family: zeros, patterns, inputs from pruned layers."""

from __future__ import annotations

import pytest
import torch
from families import FAMILIES
from sparse_models import BOTH, SHAPES, TOKENS, column_by_column, model_of, projection_inputs

from baselines.sparsegpt import SAME_INPUT, SparseGPT, hessians
from harness.data.calibration import Calibration
from harness.models.anatomy import layers, linears
from harness.models.random_llama import build
from harness.pruning.walk import walk


@SHAPES
@pytest.mark.parametrize("family", FAMILIES)
def test_projections_that_share_a_hessian_see_the_same_input(family, heads, tied):
    model = model_of(family, heads=heads, tied=tied)
    for layer in layers(model):
        inputs = projection_inputs(model, layer)
        assert all(torch.equal(inputs[name], inputs[other]) for name, other in SAME_INPUT.items())
    for _, layer, feed in walk(model, TOKENS, batch=4):
        inputs, sums = projection_inputs(model, layer), hessians(feed)
        assert set(sums) == {name for name, _ in linears(layer)} - set(SAME_INPUT)
        for name, actual in sums.items():
            assert torch.allclose(actual, inputs[name].T @ inputs[name], rtol=1e-4, atol=1e-3)  # sums of other batches


def test_sparsegpt_takes_each_layers_inputs_from_the_layers_pruned_before_it():
    """Float64 surgery on the inputs of a plain forward pass through the whole, partly pruned model.

    No shared code.

    Each layer is compared, then replaced by ours, so that a near tie in one does not send all later ones elsewhere.
    """
    expected, _ = build()
    actual = SparseGPT(sparsity=0.5, block=32).compress(build()[0], Calibration(TOKENS))
    for layer, ours in zip(layers(expected), layers(actual), strict=True):
        inputs = projection_inputs(expected, layer)
        for (name, linear), (_, result) in zip(linears(layer), linears(ours), strict=True):
            weight, gone = column_by_column(
                linear.weight.detach().double(), inputs[name].double(), sparsity=0.5, block=32
            )
            same = (result.weight == 0) == gone
            assert same.float().mean() > 0.999, name  # float32 may turn a near tie
            rows = same.all(1)
            difference = (result.weight - weight)[rows].abs().max()
            assert difference < 1e-3 * weight.abs().max(), name
            with torch.no_grad():
                linear.weight.copy_(result.weight)


@SHAPES
@BOTH
@pytest.mark.parametrize("ratios", ["uniform", "owl"])
@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_gets_the_zeros_it_was_asked_for(family, ratios, kind, heads, tied):
    model = model_of(family, heads=heads, tied=tied)
    biases = {name: value.clone() for name, value in model.named_parameters() if value.ndim == 1}
    total = sum(linear.weight.numel() for layer in layers(model) for _, linear in linears(layer))
    smaller = kind(sparsity=0.5, ratios=ratios, owl_threshold=2).compress(model, Calibration(TOKENS))
    zeros = [sum(int((linear.weight == 0).sum()) for _, linear in linears(layer)) for layer in layers(smaller)]
    assert abs(sum(zeros) - total / 2) <= total / 64  # rows and blocks are rounded down
    assert (len(set(zeros)) > 1) is (ratios == "owl")
    assert all(torch.equal(value, biases[name]) for name, value in smaller.named_parameters() if value.ndim == 1)
    with torch.no_grad():
        assert smaller(TOKENS).logits.isfinite().all()


@pytest.mark.parametrize(("pattern", "n", "m"), [("2:4", 2, 4), ("4:8", 4, 8)])
@pytest.mark.parametrize("family", FAMILIES)
def test_patterns_hold_in_every_group_also_in_half_precision(family, pattern, n, m):
    model = model_of(family).to(torch.bfloat16)
    for layer in layers(SparseGPT(pattern=pattern).compress(model, Calibration(TOKENS))):
        for _, linear in linears(layer):
            assert linear.weight.dtype == torch.bfloat16
            assert ((linear.weight != 0).unflatten(1, (-1, m)).sum(-1) == n).all()


def test_sparsegpt_moves_a_layers_outputs_less_than_its_mask_alone():
    dense, _ = build()
    actual = SparseGPT(sparsity=0.5).compress(build()[0], Calibration(TOKENS))
    inputs = projection_inputs(dense, layers(dense)[0])  # the first layer sees the same in both
    for (name, linear), (_, ours) in zip(linears(layers(dense)[0]), linears(layers(actual)[0]), strict=True):
        masked = linear.weight * (ours.weight != 0)
        repaired, bare = (((linear.weight - w) @ inputs[name].T).square().sum() for w in (ours.weight, masked))
        assert repaired < bare, name


def test_a_block_that_cuts_a_group_is_refused():
    with pytest.raises(ValueError, match=r"whole groups of pattern=4:8, not 100; the next that does is 104"):
        SparseGPT(pattern="4:8", block=100)


@BOTH
@pytest.mark.parametrize("pattern", ["4:4", "0:4", "4:2", "0:0"])
def test_a_pattern_that_keeps_all_or_nothing_is_refused(kind, pattern):
    with pytest.raises(ValueError, match=f"must have 0 < n < m, not {pattern}"):
        kind(pattern=pattern)
