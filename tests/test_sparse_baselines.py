"""SparseGPT and OWL against slow, independent statements of their formulas; on tiny models of every family."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from families import FAMILIES, SIZES

from baselines.sparsegpt import SAME_INPUT, SparseGPT, hessians
from baselines.wanda import Wanda
from harness import registry
from harness.data.calibration import Calibration
from harness.measures.size import nonzero_count
from harness.models.random_llama import build
from harness.pruning.anatomy import layers, linears, parameter_count
from harness.pruning.masks import lowest, n_of_m
from harness.pruning.obs import inverse_factor, prune
from harness.pruning.owl import HIGHEST, layer_sparsities, outlier_share
from harness.pruning.walk import walk

TOKENS = torch.randint(2, 258, (6, 32), generator=torch.Generator().manual_seed(3))
BOTH = pytest.mark.parametrize("kind", [Wanda, SparseGPT])


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


def column_by_column(weight, inputs, *, sparsity=None, pattern=None, damping=0.01, block=16):
    """Optimal brain surgeon as a textbook has it: numpy, float64, the inverse of what remains formed anew for every column.

    Returns the weights and the mask; nothing is factored and no update waits for the end of a block.
    """
    work, x = weight.numpy().copy(), inputs.numpy()
    rows, columns = work.shape
    hessian = x.T @ x
    hessian += damping * np.trace(hessian) / columns * np.eye(columns)
    inverses = [np.linalg.inv(hessian[column:, column:]) for column in range(columns)]
    gone = np.zeros((rows, columns), dtype=bool)
    step = block if pattern is None else pattern[1]
    for column in range(columns):
        if column % step == 0:
            group = range(column, min(column + step, columns))
            cost = np.stack([work[:, j] ** 2 / inverses[j][0, 0] for j in group], axis=1)
            if pattern is None:
                least = np.argsort(cost, axis=None)[: int(sparsity * cost.size + 1e-6)]
                gone[:, group] = np.isin(np.arange(cost.size), least).reshape(cost.shape)
            else:
                for row in range(rows):
                    gone[row, column + np.argsort(cost[row])[: pattern[1] - pattern[0]]] = True
        for row in np.flatnonzero(gone[:, column]):
            work[row, column:] -= work[row, column] / inverses[column][0, 0] * inverses[column][0]
    work[gone] = 0
    return torch.from_numpy(work), torch.from_numpy(gone)


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
    found = pruned(weight, inputs, **case)
    expected, gone = column_by_column(weight, inputs, **case)
    assert torch.equal(found == 0, gone)
    assert torch.allclose(found, expected, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_float32_finds_nearly_the_same_weights(case):
    weight, inputs = problem()
    found = pruned(weight.float(), inputs.float(), **case)
    expected, gone = column_by_column(weight, inputs, **case)
    assert found.dtype == torch.float32
    assert ((found == 0) == gone).all()
    assert torch.allclose(found.double(), expected, atol=2e-3)


@pytest.mark.parametrize("case", CASES[:5], ids=str)
def test_updated_weights_reconstruct_better_than_the_same_mask_alone(case):
    """Between the mask without repair and the least squares of every row on its mask, which no update can beat."""
    weight, inputs = problem()
    found = pruned(weight, inputs, **case)

    def error(candidate):
        return ((weight - candidate) @ inputs.T).square().sum()

    best = torch.zeros_like(weight)
    for row in range(len(weight)):
        kept = found[row] != 0
        best[row, kept] = torch.linalg.lstsq(inputs[:, kept], inputs @ weight[row, :, None]).solution[:, 0]
    assert error(best) <= error(found) < error(weight * (found != 0))


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
    """With ever more damping inputs look uncorrelated: what is left is magnitude pruning without any update."""
    weight, inputs = problem()
    found = pruned(weight, inputs, sparsity=0.5, damping=1e9)
    for start in range(0, 40, 16):
        part = weight[:, start : start + 16]
        expected = part.masked_fill(lowest(part.abs(), 0.5, per_row=False), 0)
        assert torch.allclose(found[:, start : start + 16], expected, atol=1e-6)


def test_fewer_tokens_than_inputs_need_damping():
    weight, inputs = problem(samples=10)
    assert pruned(weight, inputs, sparsity=0.5).isfinite().all()
    with pytest.raises(ValueError, match="singular at damping=0"):
        pruned(weight.float(), inputs.float(), sparsity=0.5, damping=0)


@pytest.mark.parametrize("case", CASES[:5], ids=str)
def test_weights_of_dead_inputs_go_first_and_those_that_stay_stay_as_they_were(case):
    dead = (1, 5, 17, 18, 39)
    weight, inputs = problem(dead=dead)
    found = pruned(weight, inputs, **case)
    expected_zeros = (pruned(*problem(), **case) == 0).sum()
    assert (found == 0).sum() == expected_zeros  # neither more nor fewer than were asked for
    assert found.isfinite().all()
    assert (found[:, dead] == 0).all()
    alive = [column for column in range(40) if column not in dead]
    found = pruned(weight, inputs, sparsity=1 / 60, block=60)  # fewer zeros than dead weights
    assert (found == 0).sum() == 8
    assert torch.equal(found[:, alive], weight[:, alive])
    kept = found[:, dead] != 0
    assert torch.equal(found[:, dead][kept], weight[:, dead][kept])


def test_inputs_that_are_all_dead_still_give_the_zeros_asked_for():
    weight, inputs = problem()
    found = pruned(weight, inputs * 0, sparsity=0.5)
    assert (found == 0).sum() == weight.numel() // 2
    assert torch.equal(found[found != 0], weight[found != 0])


# on models


def model_of(family: str, *, heads: int = 4, tied: bool = True):
    kind, config = FAMILIES[family]
    with torch.random.fork_rng():
        torch.manual_seed(2)
        return kind(config(**{**SIZES, "num_key_value_heads": heads, "tie_word_embeddings": tied})).eval()


SHAPES = pytest.mark.parametrize(("heads", "tied"), [(4, True), (8, False)], ids=["gqa-tied", "mha-untied"])


def projection_inputs(model, layer) -> dict[str, torch.Tensor]:
    """Return what each projection of a layer receives in a plain forward pass of the whole model."""
    found: dict[str, torch.Tensor] = {}
    hooks = [
        linear.register_forward_pre_hook(
            lambda _, args, name=name: found.update({name: args[0].detach().flatten(0, 1)})
        )
        for name, linear in linears(layer)
    ]
    with torch.no_grad():
        model(TOKENS)
    for hook in hooks:
        hook.remove()
    return found


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
        for name, found in sums.items():
            assert torch.allclose(found, inputs[name].T @ inputs[name], rtol=1e-4, atol=1e-3)  # sums of other batches


def test_sparsegpt_takes_each_layers_inputs_from_the_layers_pruned_before_it():
    """Float64 surgery on the inputs of a plain forward pass through the whole, partly pruned model: no shared code.

    Each layer is compared, then replaced by ours, so that a near tie in one does not send all later ones elsewhere.
    """
    expected, _ = build()
    found = SparseGPT(sparsity=0.5, block=32).compress(build()[0], Calibration(TOKENS))
    for layer, ours in zip(layers(expected), layers(found), strict=True):
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
    found = SparseGPT(sparsity=0.5).compress(build()[0], Calibration(TOKENS))
    inputs = projection_inputs(dense, layers(dense)[0])  # the first layer sees the same in both
    for (name, linear), (_, ours) in zip(linears(layers(dense)[0]), linears(layers(found)[0]), strict=True):
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


# OWL


def test_outliers_are_counted_against_one_mean_of_the_whole_layer():
    one = (torch.tensor([[1.0, -2.0], [0.5, 4.0]]), torch.tensor([2.0, 3.0]))  # scores 2 6 / 1 12
    other = (torch.tensor([[-3.0, 0.0]]), torch.tensor([1.0, 9.0]))  # scores 3 0
    assert outlier_share([one, other], 1.4) == 2 / 6  # the mean is 4: above 5.6 are 6 and 12
    assert outlier_share([one, other], 1.5) == 1 / 6  # 6 is not above 6
    assert outlier_share([one], 1.4) == 1 / 4  # the mean is 5.25: only 12 is above 7.35
    assert outlier_share([], 5) == 0


def test_ratios_are_the_formula_by_hand():
    """Shares 0, 1, 4 % are scaled to 0, .04, .16 of weights spared, .0667 on average."""
    found = layer_sparsities([0.0, 0.01, 0.04], [5, 5, 5], target=0.7, deviation=0.08)
    assert found == pytest.approx([0.7 + 0.2 / 3, 0.7 + 0.2 / 3 - 0.04, 0.7 + 0.2 / 3 - 0.16])


@pytest.mark.parametrize("target", [0.5, 0.7, 0.31])
def test_the_mean_over_weights_is_the_target_and_the_range_twice_lambda(target):
    shares, counts = [0.01, 0.05, 0.02, 0.021], [100, 300, 50, 77]
    found = layer_sparsities(shares, counts, target=target, deviation=0.08)
    assert np.average(found, weights=counts) == pytest.approx(target, abs=1e-12)
    assert max(found) - min(found) == pytest.approx(0.16)
    assert np.argsort(found).tolist() == np.argsort(shares)[::-1].tolist()


def test_layers_that_are_equal_get_the_target():
    assert layer_sparsities([0.02, 0.02], [3, 4], target=0.4, deviation=0.08) == [0.4, 0.4]
    assert layer_sparsities([0.02], [3], target=0.4, deviation=0.08) == [0.4]


def test_a_layer_with_nothing_to_prune_changes_nothing():
    full = layer_sparsities([0.01, 0.02, 0.05], [3, 4, 5], target=0.4, deviation=0.08)
    found = layer_sparsities([0.01, 0.0, 0.02, 0.05], [3, 0, 4, 5], target=0.4, deviation=0.08)
    assert [found[0], *found[2:]] == pytest.approx(full)


@pytest.mark.parametrize("target", [0, 0.02, 0.04, 0.97, 0.995])
def test_the_range_is_narrowed_where_a_layer_would_leave_what_can_be(target):
    shares, counts = [0.01, 0.05, 0.02], [100, 300, 50]
    found = layer_sparsities(shares, counts, target=target, deviation=0.08)
    assert np.average(found, weights=counts) == pytest.approx(target, abs=1e-12)
    assert min(found) >= 0
    assert max(found) <= max(HIGHEST, target) + 1e-12
    touched = min(found) == pytest.approx(0, abs=1e-12) or max(found) == pytest.approx(max(HIGHEST, target))
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

    assert key() == key(owl_threshold=7, owl_lambda=0.1)
    assert "ratios" not in key()  # what was stored before there was a choice keeps its key
    fields = [key(), key(ratios="owl"), key(ratios="owl", owl_threshold=7), key(ratios="owl", owl_lambda=0.1)]
    assert all(fields.count(one) == 1 for one in fields)
