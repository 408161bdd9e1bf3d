"""Every variant of LLM-Pruner against an independent statement of its formula.

Each is tested on every decoder family.
"""

from __future__ import annotations

import copy
from functools import cache

import numpy as np
import pytest
import torch
from structured_models import MODELS, TOKENS, compressed, every_model, every_threshold, kept_parts, logits, made

from baselines.llm_pruner import LLMPruner
from harness.compress import Compress
from harness.data.calibration import Calibration
from harness.models.anatomy import layer_shapes, layers, linears, parameter_count
from harness.pruning.budget import TOLERANCE
from harness.pruning.extraction import extract, whole
from harness.pruning.taylor import element2, gradients
from harness.spec import Node

CRITERIA = ("vector", "element1", "element2", "l1", "l2")
SCOPES = ("local", "global")
OPEN = range(1, 5)  # of 6 layers: the first 4 and last 2 of 32, rounded up, stay whole
NOTHING = torch.empty(0, 0, dtype=torch.long)


@every_model
def model(request):
    return made(*request.param)


@cache
def sample_gradients(family, groups, tied) -> list[dict[str, np.ndarray]]:
    """Return the gradient of each of the 10 samples by itself, by weight, from plain autograd on a copy."""
    actual = []
    for sample in TOKENS[:10]:
        reference = made(family, groups, tied)
        reference(sample[None], labels=sample[None]).loss.backward()
        actual.append({name: weight.grad.double().numpy() for name, weight in reference.named_parameters()})
    return actual


def weight_scores(criterion, weight, samples) -> np.ndarray:
    """Return the formula of the paper for each weight (out, in).

    "vector" signed, to be summed before the absolute value.
    """
    gradient = np.mean(samples, axis=0)
    return {
        "vector": lambda: weight * gradient,
        "element1": lambda: abs(weight * gradient),
        "element2": lambda: abs(weight * gradient - weight**2 * np.mean(np.square(samples), axis=0) / 2),
        "l1": lambda: abs(weight),
        "l2": lambda: weight**2,
    }[criterion]()


def statement(model, criterion, samples, compat=False) -> list[tuple[list[float], list[float]]]:
    """Return per layer the scores of groups and channels, by loops over heads, rows and columns."""
    actual = []
    for index, layer in enumerate(layers(model)):
        by_row = {}
        for name, linear in linears(layer):
            key = f"model.layers.{index}.{name}.weight"
            scores = weight_scores(
                criterion, linear.weight.detach().double().numpy(), [grads[key] for grads in samples]
            )
            sums = scores.sum(axis=0 if name in ("self_attn.o_proj", "mlp.down_proj") else 1)
            by_row[name.split(".")[1]] = abs(sums)
        count, heads = model.config.num_key_value_heads, model.config.num_attention_heads
        groups = []
        for group in range(count):
            mine = [j for j in range(heads) if (j % count if compat else j // (heads // count)) == group]
            total = sum(by_row[name][8 * j : 8 * j + 8].sum() for name in ("q_proj", "o_proj") for j in mine)
            total += sum(by_row[name][8 * group : 8 * group + 8].sum() for name in ("k_proj", "v_proj"))
            groups.append(total)
        channels = [by_row["gate_proj"][c] + by_row["up_proj"][c] + by_row["down_proj"][c] for c in range(160)]
        if compat and criterion in ("l1", "l2"):
            groups, channels = [each / 4 for each in groups], [each / 3 for each in channels]
        actual.append((groups, channels))
    return actual


def highest(scores, count) -> list[int]:
    return sorted(sorted(range(len(scores)), key=lambda part: -scores[part])[:count])


def above_one_threshold(model, scores, budget) -> list[tuple[list[int], list[int]]]:
    """Return what stays of the open layers."""
    shape = layer_shapes(model)[1]
    heads, neurons = ([np.array(scores[index][part]) for index in OPEN] for part in (0, 1))
    return every_threshold(heads, neurons, shape, surplus=(1 - budget) * parameter_count(model))


@pytest.mark.parametrize("compat", [False, True])
@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize(
    ("which", "criterion"),  # a family decides how heads are folded and what scores are summed, not what a score is
    [*((which, "element1") for which in MODELS), *((MODELS[0], each) for each in CRITERIA if each != "element1")],
    ids=lambda value: value if isinstance(value, str) else f"{value[0]}-{value[1]}groups",
)
def test_the_parts_of_highest_score_stay_and_the_budget_is_met(which, criterion, scope, compat):
    model = made(*which)
    method = LLMPruner(budget=0.7, criterion=criterion, scope=scope, paper_compat=compat)
    smaller, dense = compressed(method, model), parameter_count(model)
    scores = statement(model, criterion, sample_gradients(*which), compat)
    kept = kept_parts(smaller, model)
    if scope == "local":
        (shape,) = {layer_shapes(smaller)[index] for index in OPEN}  # the same ratio everywhere
        assert 1 <= shape.groups < which[1]
        assert [kept[index] for index in OPEN] == [
            (highest(scores[index][0], shape.groups), highest(scores[index][1], shape.width)) for index in OPEN
        ]
    else:
        assert [kept[index] for index in OPEN] == above_one_threshold(model, scores, 0.7)
    assert all(layer_shapes(smaller)[index] == layer_shapes(model)[index] for index in (0, 5))
    assert abs(parameter_count(smaller) - 0.7 * dense) <= TOLERANCE * dense
    assert logits(smaller).isfinite().all()


@pytest.mark.parametrize("compat", [False, True])
@pytest.mark.parametrize("criterion", CRITERIA)
def test_importance_is_the_formula_up_to_a_factor(criterion, compat):
    """The factor is that of sums and means over 10 samples; float32 sums in another order."""
    model, samples = made(), sample_gradients("llama", 4, True)
    method = LLMPruner(budget=0.7, criterion=criterion, paper_compat=compat)
    actual = method.importance(copy.deepcopy(model), TOKENS[:10])
    factor = 1 if criterion in ("l1", "l2") else 10
    for ours, theirs in zip(actual, statement(model, criterion, samples, compat), strict=True):
        for one, other in zip(ours, theirs, strict=True):
            assert one.numpy() == pytest.approx(factor * np.array(other), rel=1e-4)


def test_the_second_order_is_seen():
    """The two criteria differ by more than the tolerance above.

    A wrong factor of the second term would show.
    """
    model, samples = made(), sample_gradients("llama", 4, True)
    first, second = (np.array(statement(model, criterion, samples)[3][1]) for criterion in ("element1", "element2"))
    assert abs(second / first - 1).max() > 1e-3


def test_element2_is_a_parabola_at_the_weight():
    weight = torch.nn.Parameter(torch.tensor([[1.0, -2.0, 0.5]]))
    weight.grad = torch.tensor([[3.0, 5.0, -1.0]])
    assert element2(weight, torch.tensor([[2.0, 4.0, 8.0]])).tolist() == [
        [2.0, 18.0, 1.5]
    ]  # |3 - 1|, |-10 - 8|, |-.5 - 1|


def test_the_published_fold_is_another_order_under_grouped_queries_only():
    for which in MODELS:
        model, samples = made(*which), sample_gradients(*which)
        right, published = (
            [scores for scores, _ in statement(model, "element1", samples, compat)] for compat in (False, True)
        )
        assert (right == published) == (which[1] == 8)
        actual = [
            LLMPruner(budget=0.7, paper_compat=compat).importance(copy.deepcopy(model), TOKENS[:10])[2][0]
            for compat in (False, True)
        ]
        assert torch.equal(*actual) == (which[1] == 8)


def test_global_scope_gives_layers_widths_of_their_own(model):
    shapes = layer_shapes(compressed(LLMPruner(budget=0.7, scope="global"), model))
    assert len({shapes[index].width for index in OPEN}) > 1


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("budget", [0.95, 0.6])
@pytest.mark.parametrize("criterion", ["random", "l2"])
def test_budgets_are_met_on_every_family(criterion, budget, scope, model):
    smaller = compressed(LLMPruner(budget=budget, scope=scope, criterion=criterion), model)
    assert abs(parameter_count(smaller) - budget * parameter_count(model)) <= TOLERANCE * parameter_count(model)


@pytest.mark.parametrize("scope", SCOPES)
def test_random_parts_depend_on_the_seed_alone(scope):
    model = made()
    kept = []
    for seed, state in ((0, 1), (0, 2), (1, 1)):
        torch.manual_seed(state)
        method = LLMPruner(budget=0.7, criterion="random", scope=scope, seed=seed)
        kept.append(kept_parts(compressed(method, model, NOTHING), model))
    assert kept[0] == kept[1]
    assert kept[0] != kept[2]


def test_every_group_is_as_likely_to_be_drawn_and_stands_on_the_same_scale_as_a_channel():
    model = made()
    drawn = [LLMPruner(budget=0.7, criterion="random", seed=seed).importance(model, NOTHING)[3] for seed in range(200)]
    first = np.bincount([int(groups.argmin()) for groups, _ in drawn], minlength=4)
    assert first.min() > 25  # of 50 expected
    assert max(groups.max() for groups, _ in drawn) < 1
    published = LLMPruner(budget=0.7, criterion="random", paper_compat=True).importance(model, NOTHING)[3][0]
    assert (published > 1).all()  # sums of 8 draws


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("criterion", ["l1", "l2", "random"])
def test_magnitude_and_chance_need_no_text_and_no_gradient(criterion, scope):
    method = LLMPruner(budget=0.7, criterion=criterion, scope=scope)
    assert method.needs == frozenset()
    smaller = compressed(method, made(), NOTHING)
    assert all(weight.grad is None for weight in smaller.parameters())
    cost = Compress(method=method).cost()
    assert (cost.forward_tokens, cost.backward_tokens) == (0, 0)


@pytest.mark.parametrize("criterion", ["vector", "element1", "element2"])
def test_criteria_of_the_loss_need_both_and_look_at_ten_samples_of_sixty_four_tokens(criterion):
    method = LLMPruner(budget=0.7, criterion=criterion)
    assert method.needs == {"calibration", "backward"}
    tokens = torch.randint(2, 258, (12, 70), generator=torch.Generator().manual_seed(5))
    broken = tokens.clone()
    broken[10:], broken[:, 64:] = 10**6, 10**6  # tokens that no embedding has
    model = made()
    assert kept_parts(compressed(method, model, broken), model) == kept_parts(
        compressed(method, model, tokens[:10, :64]), model
    )


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("criterion", ["element1", "l1"])
def test_an_unreachable_budget_says_what_is_reachable(criterion, scope):
    with pytest.raises(ValueError, match="llm_pruner cannot meet budget=0.2: .* the nearest budget it can meet is 0.4"):
        compressed(LLMPruner(budget=0.2, scope=scope, criterion=criterion), made())


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("criterion", ["element2", "l1", "random"])
def test_layers_without_attention_or_mlp_are_taken(criterion, scope):
    model, nothing = made(), torch.arange(0)
    keeps = whole(model)
    keeps[2], keeps[3] = type(keeps[2])(2, groups=nothing), type(keeps[3])(3, channels=nothing)
    sparse = extract(model, keeps)
    smaller = compressed(LLMPruner(budget=0.8, scope=scope, criterion=criterion), sparse)
    assert (layer_shapes(smaller)[2].groups, layer_shapes(smaller)[3].width) == (0, 0)
    assert abs(parameter_count(smaller) - 0.8 * parameter_count(sparse)) <= TOLERANCE * parameter_count(sparse)
    assert logits(smaller).isfinite().all()


def test_squares_are_those_of_single_samples_and_nothing_stays_behind():
    model = made("qwen2", 4, False).to(torch.bfloat16)
    with gradients(model, TOKENS[:3]) as squared:
        assert squared == {}
    with gradients(model, TOKENS[:3], squares=True) as squared:
        assert len(squared) == 6 * 7
        weight = model.model.layers[4].self_attn.k_proj.weight
        actual, total = squared[weight], weight.grad.clone()
    reference = copy.deepcopy(model).float()
    samples = []
    for sample in TOKENS[:3].split(1):
        reference.zero_grad()
        reference(sample, labels=sample).loss.backward()
        samples.append(reference.model.layers[4].self_attn.k_proj.weight.grad.clone())
    assert torch.allclose(actual, torch.stack(samples).square().sum(0), rtol=1e-4)  # float32 sums in another order
    assert torch.allclose(total, torch.stack(samples).sum(0), rtol=1e-3, atol=1e-7)
    assert weight.dtype == torch.bfloat16
    assert not any(weight._backward_hooks or weight.grad is not None for weight in model.parameters())


def test_rotary_frequencies_keep_their_precision():
    model = made()
    for weight in model.parameters():
        weight.data = weight.data.bfloat16()  # as a loaded checkpoint is: its buffers are float32
    before = {name: buffer.clone() for name, buffer in model.named_buffers()}
    with gradients(model, TOKENS[:1]):
        pass
    assert before
    assert all(torch.equal(before[name], buffer) for name, buffer in model.named_buffers())


OLD = {
    "class": "method llm_pruner",
    "version": 1,
    "budget": 0.8,
    "samples": 10,
    "length": 64,
    "protect_first": None,
    "protect_last": None,
}


def test_the_first_version_keeps_its_fingerprint():
    """`OLD` is what the class gave before it had variants: results stored then stay valid."""
    assert fields_of(LLMPruner(budget=0.8)) == OLD
    assert fields_of(LLMPruner(budget=0.8, criterion="l1")) == OLD | {"criterion": "l1"}


def fields_of(method: LLMPruner) -> dict:
    """What of a method's key is no digest of its code, which changes with every edit."""
    return {name: value for name, value in method.fingerprint_fields().items() if name != "source"}


def test_each_variant_has_a_key_of_its_own():
    fields = [
        {},
        *({"criterion": criterion} for criterion in (*CRITERIA, "random") if criterion != "element1"),
        {"scope": "global"},
        {"paper_compat": True},
        {"scope": "global", "paper_compat": True},
        {"criterion": "random", "seed": 1},
    ]
    keys = {Node(Compress(method=LLMPruner(budget=0.8, **each))).key for each in fields}
    assert len(keys) == len(fields)


def test_an_unknown_criterion_is_refused():
    with pytest.raises(ValueError, match="criterion"):
        LLMPruner(budget=0.8, criterion="element3")
    assert LLMPruner(budget=0.8).compress(made(), Calibration(TOKENS)) is not None
