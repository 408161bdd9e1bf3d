"""OWL against its formula by hand, and in the methods that take it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sparse_models import BOTH, TOKENS, projection_inputs

from harness import registry
from harness.data.calibration import Calibration
from harness.models.anatomy import layers, linears, parameter_count
from harness.models.random_llama import build
from harness.models.size import nonzero_count
from harness.pruning.owl import HIGHEST, layer_sparsities, outlier_share


def test_outliers_are_counted_against_one_mean_of_the_whole_layer():
    one = (torch.tensor([[1.0, -2.0], [0.5, 4.0]]), torch.tensor([2.0, 3.0]))  # scores 2 6 / 1 12
    other = (torch.tensor([[-3.0, 0.0]]), torch.tensor([1.0, 9.0]))  # scores 3 0
    assert outlier_share([one, other], 1.4) == 2 / 6  # the mean is 4: above 5.6 are 6 and 12
    assert outlier_share([one, other], 1.5) == 1 / 6  # 6 is not above 6
    assert outlier_share([one], 1.4) == 1 / 4  # the mean is 5.25: only 12 is above 7.35
    assert outlier_share([], 5) == 0


def test_ratios_are_the_formula_by_hand():
    """Shares 0, 1, 4 % are scaled to 0, .04, .16 of weights spared, .0667 on average."""
    actual = layer_sparsities([0.0, 0.01, 0.04], [5, 5, 5], target=0.7, deviation=0.08)
    assert actual == pytest.approx([0.7 + 0.2 / 3, 0.7 + 0.2 / 3 - 0.04, 0.7 + 0.2 / 3 - 0.16])


@pytest.mark.parametrize("target", [0.5, 0.7, 0.31])
def test_the_mean_over_weights_is_the_target_and_the_range_twice_lambda(target):
    shares, counts = [0.01, 0.05, 0.02, 0.021], [100, 300, 50, 77]
    actual = layer_sparsities(shares, counts, target=target, deviation=0.08)
    assert np.average(actual, weights=counts) == pytest.approx(target, abs=1e-12)
    assert max(actual) - min(actual) == pytest.approx(0.16)
    assert np.argsort(actual).tolist() == np.argsort(shares)[::-1].tolist()


def test_layers_that_are_equal_get_the_target():
    assert layer_sparsities([0.02, 0.02], [3, 4], target=0.4, deviation=0.08) == [0.4, 0.4]
    assert layer_sparsities([0.02], [3], target=0.4, deviation=0.08) == [0.4]


def test_a_layer_with_nothing_to_prune_changes_nothing():
    full = layer_sparsities([0.01, 0.02, 0.05], [3, 4, 5], target=0.4, deviation=0.08)
    actual = layer_sparsities([0.01, 0.0, 0.02, 0.05], [3, 0, 4, 5], target=0.4, deviation=0.08)
    assert [actual[0], *actual[2:]] == pytest.approx(full)


@pytest.mark.parametrize("target", [0, 0.02, 0.04, 0.97, 0.995])
def test_the_range_is_narrowed_where_a_layer_would_leave_what_can_be(target):
    shares, counts = [0.01, 0.05, 0.02], [100, 300, 50]
    actual = layer_sparsities(shares, counts, target=target, deviation=0.08)
    assert np.average(actual, weights=counts) == pytest.approx(target, abs=1e-12)
    assert min(actual) >= 0
    assert max(actual) <= max(HIGHEST, target) + 1e-12
    touched = min(actual) == pytest.approx(0, abs=1e-12) or max(actual) == pytest.approx(max(HIGHEST, target))
    assert touched


@BOTH
def test_layers_lose_by_their_outliers_in_the_dense_model(kind):
    """Scores and ratios in numpy, from plain forward passes through the dense model."""
    dense, _ = build()
    shares = []
    for layer in layers(dense):
        inputs = projection_inputs(dense, layer)
        scores = np.concatenate(
            [
                np.abs(linear.weight.detach().numpy() * np.linalg.norm(inputs[name].numpy(), axis=0)).ravel()
                for name, linear in linears(layer)
            ]
        )
        shares.append(np.mean(scores > 2.5 * scores.mean()))
    scaled = (np.array(shares) - min(shares)) / (max(shares) - min(shares)) * 0.2
    expected = 0.6 - (scaled - scaled.mean())
    method = kind(sparsity=0.6, ratios="owl", owl_threshold=2.5, owl_lambda=0.1)
    assert method.sparsities(dense, TOKENS) == pytest.approx(expected.tolist(), abs=2e-3)  # a score at the threshold
    smaller = method.compress(dense, Calibration(TOKENS))
    for layer, share in zip(layers(smaller), expected, strict=True):
        for name, linear in linears(layer):
            assert (linear.weight == 0).float().mean() == pytest.approx(share, abs=1 / 60), (
                name
            )  # rows are rounded down


@BOTH
@pytest.mark.parametrize("budget", [0.95, 0.75, 0.6])
def test_owl_meets_the_budget_as_uniform_ratios_do(kind, budget):
    model, _ = build()
    smaller = kind(budget=budget, ratios="owl", owl_threshold=2).compress(model, Calibration(TOKENS))
    assert abs(nonzero_count(smaller) - budget * parameter_count(model)) <= parameter_count(model) / 64


@BOTH
def test_owl_with_a_pattern_is_one_clear_message(kind):
    call = registry.parse(f"{kind.NAME}(pattern=2:4,ratios=owl)", {})
    with pytest.raises(ValueError, match="ratios=owl .* pattern=2:4 .* leave ratios at uniform") as refused:
        registry.build(*call)
    assert "\n" not in str(refused.value)


@BOTH
def test_a_call_in_words_parses_and_runs(kind):
    method = registry.build(*registry.parse(f"{kind.NAME}(sparsity=0.5,ratios=owl,owl_threshold=2)", {}))
    assert method == kind(sparsity=0.5, ratios="owl", owl_threshold=2)
    one, other = (method.compress(build()[0], Calibration(TOKENS)).state_dict() for _ in range(2))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_rule_that_is_unknown_is_refused():
    with pytest.raises(ValueError, match="'uniform' or 'owl'"):
        registry.build(*registry.parse("sparsegpt(sparsity=0.5,ratios=olw)", {}))


@BOTH
def test_fields_of_owl_enter_the_key_only_where_owl_is_chosen(kind):
    def key(**fields):
        return kind(sparsity=0.5, **fields).fingerprint_fields()

    assert "ratios" not in key()  # what was stored before there was a choice keeps its key
    fields = [key(), key(ratios="owl"), key(ratios="owl", owl_threshold=7), key(ratios="owl", owl_lambda=0.1)]
    assert all(fields.count(one) == 1 for one in fields)
