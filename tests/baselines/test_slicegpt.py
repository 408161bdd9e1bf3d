"""SliceGPT against an independent statement of its formula.

Its invariances and the sizes that meet a budget are tested too.
"""

from __future__ import annotations

import copy
import weakref

import numpy as np
import pytest
import torch
from sliced_models import BIASED, HALF_BLOCKS, MIXED, Sized, reduced, uneven
from structured_models import MODELS, TOKENS, compressed, every_model, logits, made

from baselines.slicegpt import SliceGPT
from harness.data.calibration import Calibration
from harness.models.anatomy import layer_shapes, layers, parameter_count
from harness.models.layer_shape import LayerShape
from harness.models.sliced import sliced_norm
from harness.pruning import rotation, walk
from harness.pruning.budget import TOLERANCE, UNIT
from harness.pruning.rotation import (
    principal_basis,
    project,
    second_moment,
    sliced_parameters,
    solve_sizes,
    spread,
    uniform_sizes,
)
from harness.pruning.slicing import HALVES


@every_model
def model(request):
    return uneven(made(*request.param))


@pytest.fixture(params=[*MODELS, *BIASED], ids=lambda value: f"{value[0]}-{value[1]}")
def any_model(request):
    family, groups, *_ = request.param
    return uneven(made(*request.param) if isinstance(groups, int) else made(family, **groups))


def error(one, other) -> float:
    return float((logits(one) - logits(other)).norm() / logits(other).norm())


def float64_norm(self, states):
    return self.weight * states * (states.pow(2).mean(-1, keepdim=True) + self.variance_epsilon).rsqrt()


def test_rotation_without_slicing_changes_no_output(any_model, monkeypatch):
    """The computational invariance of an RMSNorm network.

    1e-4 and 1e-9 are for the order of sums of either dtype.
    """
    whole = any_model
    rotated = compressed(Sized(), whole)
    assert not torch.allclose(rotated.model.embed_tokens.weight, whole.model.embed_tokens.weight, atol=1e-2)
    assert torch.allclose(logits(rotated), logits(whole), atol=1e-4)
    monkeypatch.setattr(type(whole.model.norm), "forward", float64_norm)  # transformers' own computes in float32
    whole = whole.double()
    assert torch.allclose(logits(compressed(Sized(), whole)), logits(whole), atol=1e-9)


def half_blocks(layer, index, reads):
    """Return a dense layer's forward pass in which half block n starts from `reads(n, states)`.

    `reads` takes and returns a width of hidden.
    """

    def forward(states, **extra):
        states = reads(2 * index, states)
        states = states + layer.self_attn(hidden_states=layer.input_layernorm(states), **extra)[0]
        states = reads(2 * index + 1, states)
        return states + layer.mlp(layer.post_attention_layernorm(states))

    return forward


def stated_bases(model, sizes, *, inherit=True) -> list[np.ndarray]:
    """Return the bases by numpy, each from one pass of the whole dense model.

    In that pass the earlier half blocks read what they keep.

    Without `inherit` the earlier half blocks read everything: PCA of the dense model.
    """
    patched, actual, seen = copy.deepcopy(model), [], {}

    def reads(position, states):
        seen[position] = states.flatten(0, 1).double().numpy()
        kept = actual[position] if inherit and position < len(actual) else np.eye(64)
        return states @ torch.tensor(kept @ kept.T).to(states)

    for index, layer in enumerate(layers(patched)):
        layer.forward = half_blocks(layer, index, reads)
    for position, size in enumerate(sizes[:-1]):
        logits(patched)
        values, vectors = np.linalg.eigh(sum(np.outer(token, token) for token in seen[position]))
        actual.append(vectors[:, np.argsort(-values)[:size]])
    return actual


def test_weights_are_the_dense_ones_between_the_principal_components_of_inputs_sliced_before(any_model):
    dense = any_model
    smaller = compressed(reduced(MIXED), dense)
    bases = [*stated_bases(dense, MIXED), np.eye(64)]
    state = {name: weight.double().numpy() for name, weight in smaller.state_dict().items()}
    old = {name: weight.double().numpy() for name, weight in dense.state_dict().items()}

    def same(actual, wanted):  # signs of eigenvectors are free; float32 inputs tell close ones apart to about 1e-3
        assert actual.shape == wanted.shape
        assert np.abs(np.abs(actual) - np.abs(wanted)).max() < 5e-3 * max(1, np.abs(wanted).max())

    same(state["model.embed_tokens.weight"], old["model.embed_tokens.weight"] @ bases[0])
    for index in range(6):
        name = f"model.layers.{index}."
        for place, norm, block, readers, writer, shortcut in (
            (0, "input_layernorm", "self_attn", "qkv", "o_proj", "attention_shortcut"),
            (1, "post_attention_layernorm", "mlp", ("gate", "up"), "down_proj", "mlp_shortcut"),
        ):
            before, after = bases[2 * index + place], bases[2 * index + place + 1]
            assert np.allclose(state[f"{name}{norm}.weight"], (64 / before.shape[1]) ** 0.5)
            for reader in readers:
                path = f"{name}{block}.{reader}_proj"
                same(state[f"{path}.weight"], old[f"{path}.weight"] @ np.diag(old[f"{name}{norm}.weight"]) @ before)
                assert f"{path}.bias" not in old or np.array_equal(state[f"{path}.bias"], old[f"{path}.bias"])
            path = f"{name}{block}.{writer}"
            same(state[f"{path}.weight"], after.T @ old[f"{path}.weight"])
            assert (f"{path}.bias" in old) == (f"{path}.bias" in state)
            if f"{path}.bias" in old:
                same(state[f"{path}.bias"], after.T @ old[f"{path}.bias"])
            same(state[f"{name}{shortcut}.weight"], after.T @ before)
    assert torch.equal(smaller.lm_head.weight, dense.lm_head.weight)
    assert torch.equal(smaller.model.norm.weight, dense.model.norm.weight)


def test_the_second_basis_comes_from_the_sliced_first_half_block(model):
    sizes = [24] * HALF_BLOCKS + [64]
    smaller = compressed(reduced(sizes), model)
    written = smaller.model.layers[0].self_attn.o_proj.weight.detach().double().numpy()  # second basis^T o_proj
    whole = model.model.layers[0].self_attn.o_proj.weight.detach().double().numpy()
    apart = [
        np.linalg.norm(np.abs(written) - np.abs(stated_bases(model, [*sizes[:2], 64], inherit=inherit)[1].T @ whole))
        for inherit in (True, False)
    ]
    assert apart[0] < 0.05 * apart[1]


def test_a_sliced_norm_is_the_dense_one_of_what_it_keeps(model):
    norm = copy.deepcopy(model.model.norm)
    norm.weight.data.fill_(1)
    norm.variance_epsilon = 0.5  # beside entries of about 1: a wrong one shows
    kept = torch.randn(10, 24, generator=torch.Generator().manual_seed(0))
    small = sliced_norm(norm, 24, 64)
    torch.nn.init.constant_(small.weight, (64 / 24) ** 0.5)
    padded = torch.cat([kept, torch.zeros(10, 40)], dim=1)
    assert torch.allclose(small(kept), norm(padded)[:, :24], rtol=1e-5)  # float32


def test_a_bfloat16_norm_scales_its_linears_by_exactly_what_it_should():
    """sqrt(64 / 40) is 5e-4 off in bfloat16, one way for all weights.

    The roundings of many weights cancel out.
    """
    layer, basis = uneven(made()).model.layers[0].bfloat16(), torch.linalg.qr(torch.randn(64, 40).double()).Q
    with torch.no_grad():
        narrow, wide = (HALVES[0].sliced(each, basis, basis) for each in (layer, copy.deepcopy(layer).float()))
    scales = [weights["input_layernorm.weight"][0].double() for weights in (narrow, wide)]
    assert abs(scales[0] / scales[1] - 1) > 4e-4
    for name in ("q_proj", "k_proj", "v_proj"):
        actual, wanted = (
            (scale * weights[f"self_attn.{name}.weight"].double()).flatten()
            for scale, weights in zip(scales, (narrow, wide), strict=True)
        )
        assert float(actual @ wanted / (wanted @ wanted)) == pytest.approx(1, abs=1e-4)


def test_principal_components_lose_less_than_random_directions_of_the_same_sizes(model, monkeypatch):
    sizes = [40] * HALF_BLOCKS + [64]
    ours = error(compressed(reduced(sizes), model), model)

    def random_basis(moment, size, damping):
        draws = torch.Generator().manual_seed(size)
        return torch.linalg.qr(torch.randn(len(moment), size, generator=draws, dtype=torch.float64)).Q

    monkeypatch.setattr(rotation, "principal_basis", random_basis)
    assert ours < error(compressed(reduced(sizes), model), model)


def test_wider_streams_lose_less(model):
    errors = [error(compressed(reduced([size] * HALF_BLOCKS + [64]), model), model) for size in (24, 40, 60, 64)]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 1e-4 < errors[-2]


def test_a_basis_is_orthonormal_and_its_signs_do_not_depend_on_the_solver():
    moment = second_moment([torch.randn(3, 5, 12, generator=torch.Generator().manual_seed(0))])
    basis = principal_basis(moment, 7, 0.01)
    assert torch.allclose(basis.T @ basis, torch.eye(7).double(), atol=1e-12)
    assert (basis.gather(0, basis.abs().argmax(0, keepdim=True)) > 0).all()
    kept = (basis.T @ moment @ basis).diagonal()
    assert torch.allclose(kept, torch.linalg.eigvalsh(moment).flip(0)[:7])  # the largest first
    undamped = principal_basis(moment, 7, 0.0)
    assert torch.allclose(basis, undamped, atol=1e-9)  # a multiple of the identity moves no eigenvector


def test_second_moments_of_chunks_are_those_of_all_tokens():
    tokens = 1000 + torch.randn(4, 25, 6, generator=torch.Generator().manual_seed(0))
    expected = sum(torch.outer(token, token) for token in tokens.double().flatten(0, 1))
    assert torch.allclose(second_moment(tokens.split(3)), expected, rtol=1e-12)
    assert second_moment(tokens.bfloat16().split(3)).dtype == torch.float64


def test_projection_keeps_the_span_and_the_dtype():
    basis = torch.eye(6).double()[:, :2]
    states = torch.arange(12.0).view(2, 6)
    assert project(states, basis).tolist() == [[0, 1, 0, 0, 0, 0], [6, 7, 0, 0, 0, 0]]
    assert project(states.bfloat16(), basis).dtype == torch.bfloat16


@pytest.mark.parametrize("sizes", [MIXED, [64] * 13, [8] * 12 + [64]], ids=["mixed", "whole", "narrow"])
def test_parameters_follow_from_sizes_with_shortcuts_and_head(sizes, any_model):
    model = any_model
    smaller = compressed(reduced(sizes), model)
    assert parameter_count(smaller) == sliced_parameters(sizes, layer_shapes(model), 258)
    assert smaller.lm_head.weight.shape == (258, 64)
    assert smaller.config.stream_sizes == sizes


def test_a_whole_stream_costs_its_shortcuts_and_the_head_that_was_tied(model):
    extra = 12 * 64 * 64 + (258 * 64 if model.config.tie_word_embeddings else 0)
    assert parameter_count(compressed(Sized(), model)) == parameter_count(model) + extra


def test_parameters_rise_with_every_size():
    shapes = layer_shapes(made("llama", attention_bias=True, mlp_bias=True))
    count = sliced_parameters(MIXED, shapes, 258)
    for place in range(12):
        wider = [size + (index == place) for index, size in enumerate(MIXED)]
        assert sliced_parameters(wider, shapes, 258) > count


def llama_7b(sizes) -> tuple[int, int]:
    """Return the parameters of LLaMA-2-7B sliced to `sizes`, and of the dense model: 6,738,415,616."""
    shapes = [LayerShape(hidden=4096, groups=32, queries=1, head_dim=128, width=11008)] * 32
    return sliced_parameters(sizes, shapes, 32000), sum(shape.parameters for shape in shapes) + 2 * 32000 * 4096 + 4096


def test_slicing_llama_7b_by_a_quarter_removes_the_published_15_percent():
    parameters, dense = llama_7b([3072] * 64 + [4096])
    assert dense == 6_738_415_616
    assert 1 - parameters / dense == pytest.approx(0.153, abs=5e-4)


@pytest.mark.parametrize("budget", [0.9, 0.8, 0.5])
def test_large_models_get_two_sizes_of_multiples_of_eight_the_larger_first(budget):
    target = budget * 6_738_415_616
    sizes = solve_sizes(lambda sizes: llama_7b(sizes)[0], target, slack=TOLERANCE * target, hidden=4096, half_blocks=64)
    assert all(size % 8 == 0 for size in sizes)
    assert sizes[:-1] == sorted(sizes[:-1], reverse=True)
    assert 0 <= sizes[0] - sizes[-2] <= 8
    assert sizes[-1] == 4096
    step = llama_7b([4096, 8, *[4096] * 63])[0] - llama_7b([4096, 16, *[4096] * 63])[0]
    assert abs(llama_7b(sizes)[0] - target) <= abs(step)  # within what eight entries of one stream cost


def small_sizes(budget, slack=TOLERANCE):
    shapes, dense = layer_shapes(made()), parameter_count(made())
    count = lambda sizes: sliced_parameters(sizes, shapes, 258)  # noqa: E731
    room = {"hidden": 64, "half_blocks": HALF_BLOCKS}
    return solve_sizes(count, budget * dense, slack=slack * dense, **room), count, budget * dense


@pytest.mark.parametrize("budget", [0.95, 0.9, 0.77, 0.6, 0.5])
@pytest.mark.parametrize("slack", [1.0, 0.0])
def test_sizes_are_the_nearest_and_of_smaller_units_only_where_eight_will_not_do(budget, slack):
    sizes, count, target = small_sizes(budget, slack)
    unit = UNIT if slack else 1
    assert all(size % unit == 0 for size in sizes)
    every = [spread(share / 1000, unit=unit, hidden=64, half_blocks=HALF_BLOCKS) for share in range(1001)]
    assert sizes in every
    assert abs(count(sizes) - target) == min(abs(count(other) - target) for other in every)


def test_spread_goes_from_everything_to_eight_and_never_beyond():
    ends = [spread(share, unit=8, hidden=60, half_blocks=3) for share in (0, 1)]
    assert ends == [[60, 60, 60, 60], [8, 8, 8, 60]]
    assert spread(0.5, unit=4, hidden=60, half_blocks=3) == [36, 32, 32, 60]


@pytest.mark.parametrize("budget", [0.95, 0.75, 0.6])
def test_budgets_are_met_on_every_family(budget, model):
    smaller, dense = compressed(SliceGPT(budget=budget), model), parameter_count(model)
    assert abs(parameter_count(smaller) - budget * dense) <= TOLERANCE * dense


@pytest.mark.parametrize("paper_compat", [True, False])
def test_a_budget_out_of_reach_is_refused_before_calibration(paper_compat, monkeypatch):
    monkeypatch.setattr(walk, "first_inputs", None)
    with pytest.raises(ValueError, match=r"the nearest budget it can meet is 0\.\d+"):
        compressed(SliceGPT(budget=0.1, paper_compat=paper_compat), made())


@pytest.mark.parametrize("budget", [0.9, 0.7])
def test_paper_compat_has_one_size_rounded_down_to_a_multiple_of_eight(budget, model):
    smaller, dense = compressed(SliceGPT(budget=budget, paper_compat=True), model), parameter_count(model)
    *sizes, last = smaller.config.stream_sizes
    assert len(set(sizes)) == 1
    assert sizes[0] % 8 == 0
    assert last == 64
    larger = sliced_parameters([sizes[0] + 8] * 12 + [64], layer_shapes(model), 258)
    assert parameter_count(smaller) <= budget * dense < larger
    assert uniform_sizes(sum, 8 * 12 + 63, hidden=64, half_blocks=12) == [8] * 12 + [64]  # nothing fits: the smallest


def test_paper_compat_subtracts_the_embeddings_means_and_so_is_another_function(model):
    """A rotated row has the scalar products of the row that was rotated."""
    compat = compressed(Sized(paper_compat=True), model)
    rows = compat.model.embed_tokens.weight
    dense = model.model.embed_tokens.weight
    centred = dense - dense.mean(1, keepdim=True)
    assert torch.allclose(rows @ rows.T, centred @ centred.T, atol=1e-5)
    assert torch.equal(compat.lm_head.weight, model.lm_head.weight)  # also where it was tied
    assert error(compressed(Sized(), model), model) < 1e-5 < 1e-3 < error(compat, model)


def test_no_more_than_one_layers_activations_are_held(monkeypatch):
    """When a half block's inputs are summed, those of earlier half blocks are gone.

    A batch that is being replaced may still be there.
    """
    seen, alive = [], []

    def spy(streams):
        alive.append(sum(each() is not None for call in seen for each in call))
        seen.append([weakref.ref(stream) for stream in streams])
        return second_moment(streams)

    monkeypatch.setattr(rotation, "second_moment", spy)
    compressed(SliceGPT(budget=0.8), made(), tokens=TOKENS.repeat(4, 1))
    assert len(seen[0]) == 6
    assert len(alive) == HALF_BLOCKS
    assert max(alive) <= 1


def test_calibration_decides_the_bases(model):
    sizes = [40] * HALF_BLOCKS + [64]
    few = torch.full_like(TOKENS, 7)
    one = reduced(sizes).compress(copy.deepcopy(model), Calibration(few))
    other = compressed(reduced(sizes), model)
    with torch.no_grad():
        wanted = model(few).logits
        errors = [float((actual(few).logits - wanted).norm()) for actual in (one, other)]
    assert errors[0] < 0.01 * errors[1]  # one token's stream lies in few directions: all of it is kept
