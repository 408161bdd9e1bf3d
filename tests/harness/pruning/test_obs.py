"""Optimal brain surgeon against column-by-column surgery with explicit inverses, in float64."""

from __future__ import annotations

import pytest
import torch
from sparse_models import column_by_column

from harness.pruning.masks import lowest, n_of_m
from harness.pruning.obs import inverse_factor, prune


def problem(rows=12, columns=40, samples=90, dead=()):
    """Weights (rows, columns) and correlated inputs (samples, columns) of unequal size, in float64."""
    generator = torch.Generator().manual_seed(7)
    mix = torch.randn(columns, columns, generator=generator, dtype=torch.float64)
    inputs = torch.randn(samples, columns, generator=generator, dtype=torch.float64) @ mix
    inputs *= torch.linspace(0.2, 3, columns, dtype=torch.float64)
    inputs[:, list(dead)] = 0
    return torch.randn(rows, columns, generator=generator, dtype=torch.float64), inputs


def chooser(sparsity=None, pattern=None):
    return lambda score: lowest(score, sparsity, per_row=False) if pattern is None else n_of_m(score, *pattern)


def pruned(weight, inputs, *, sparsity=None, pattern=None, damping=0.01, block=16):
    span = block if pattern is None else pattern[1]
    factor = inverse_factor(inputs.T @ inputs, damping)
    return prune(weight, factor, chooser(sparsity, pattern), span=span, block=block)


CASES = [
    {"sparsity": 0.5},
    {"sparsity": 0.77, "block": 64},
    {"sparsity": 0.3, "damping": 0.5, "block": 8},
    {"pattern": (2, 4)},
    {"pattern": (4, 8), "block": 24},
    {"pattern": (1, 4), "damping": 1e-4},
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_masks_and_weights_are_those_of_column_by_column_surgery(case):
    weight, inputs = problem()
    actual = pruned(weight, inputs, **case)
    expected, gone = column_by_column(weight, inputs, **case)
    assert torch.equal(actual == 0, gone)
    assert torch.allclose(actual, expected, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_float32_finds_nearly_the_same_weights(case):
    weight, inputs = problem()
    actual = pruned(weight.float(), inputs.float(), **case)
    expected, gone = column_by_column(weight, inputs, **case)
    assert actual.dtype == torch.float32
    assert ((actual == 0) == gone).all()
    assert torch.allclose(actual.double(), expected, atol=2e-3)


@pytest.mark.parametrize("case", CASES[:5], ids=str)
def test_updated_weights_reconstruct_better_than_the_same_mask_alone(case):
    """The error lies between that of the mask without repair and that of the best weights on the mask.

    The best weights are the least squares of every row on its mask, which no update can beat.
    """
    weight, inputs = problem()
    actual = pruned(weight, inputs, **case)

    def error(candidate):
        return ((weight - candidate) @ inputs.T).square().sum()

    best = torch.zeros_like(weight)
    for row in range(len(weight)):
        kept = actual[row] != 0
        best[row, kept] = torch.linalg.lstsq(inputs[:, kept], inputs @ weight[row, :, None]).solution[:, 0]
    assert error(best) <= error(actual) < error(weight * (actual != 0))


def test_the_factor_is_the_upper_cholesky_of_the_damped_inverse():
    _, inputs = problem()
    hessian = inputs.T @ inputs
    damped = hessian + 0.01 * hessian.diagonal().mean() * torch.eye(40, dtype=torch.float64)
    factor = inverse_factor(hessian, 0.01)
    assert torch.allclose(factor, torch.linalg.cholesky(damped.inverse(), upper=True), rtol=1e-8, atol=1e-12)


def test_the_scale_of_the_hessian_is_irrelevant():
    weight, inputs = problem()
    one, other = (pruned(weight, inputs * scale, sparsity=0.5) for scale in (1, 128.0))
    assert torch.equal(one == 0, other == 0)
    assert torch.allclose(one, other)


def test_the_pattern_does_not_depend_on_the_block():
    weight, inputs = problem()
    one, other = (pruned(weight, inputs, pattern=(2, 4), block=block) for block in (4, 128))
    assert torch.equal(one == 0, other == 0)
    assert torch.allclose(one, other)


def test_damping_holds_the_updates_back():
    """With ever more damping inputs look uncorrelated.

    What is left is magnitude pruning without any update.
    """
    weight, inputs = problem()
    actual = pruned(weight, inputs, sparsity=0.5, damping=1e9)
    for start in range(0, 40, 16):
        part = weight[:, start : start + 16]
        expected = part.masked_fill(lowest(part.abs(), 0.5, per_row=False), 0)
        assert torch.allclose(actual[:, start : start + 16], expected, atol=1e-6)


def test_fewer_tokens_than_inputs_need_damping():
    weight, inputs = problem(samples=10)
    assert pruned(weight, inputs, sparsity=0.5).isfinite().all()
    with pytest.raises(ValueError, match="singular at damping=0"):
        pruned(weight.float(), inputs.float(), sparsity=0.5, damping=0)


@pytest.mark.parametrize("case", CASES[:5], ids=str)
def test_weights_of_dead_inputs_go_first_and_those_that_stay_stay_as_they_were(case):
    dead = (1, 5, 17, 18, 39)
    weight, inputs = problem(dead=dead)
    actual = pruned(weight, inputs, **case)
    expected_zeros = (pruned(*problem(), **case) == 0).sum()
    assert (actual == 0).sum() == expected_zeros  # neither more nor fewer than were asked for
    assert actual.isfinite().all()
    assert (actual[:, dead] == 0).all()
    alive = [column for column in range(40) if column not in dead]
    actual = pruned(weight, inputs, sparsity=1 / 60, block=60)  # fewer zeros than dead weights
    assert (actual == 0).sum() == 8
    assert torch.equal(actual[:, alive], weight[:, alive])
    kept = actual[:, dead] != 0
    assert torch.equal(actual[:, dead][kept], weight[:, dead][kept])


def test_inputs_that_are_all_dead_still_give_the_zeros_asked_for():
    weight, inputs = problem()
    actual = pruned(weight, inputs * 0, sparsity=0.5)
    assert (actual == 0).sum() == weight.numel() // 2
    assert torch.equal(actual[actual != 0], weight[actual != 0])
