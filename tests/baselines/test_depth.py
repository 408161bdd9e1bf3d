"""ShortGPT, Shortened LLaMA and Inheritune against independent statements of their formulas.

Which layers go, and how many.
"""

from __future__ import annotations

import copy

import pytest
import torch
from structured_models import TOKENS, compressed, every_model, made, writer_inputs

from baselines.inheritune import Inheritune
from baselines.llm_pruner import LLMPruner
from baselines.shortened_llama import ShortenedLlama, effects, unprotected
from baselines.shortgpt import ShortGPT
from harness.compress import Compress
from harness.data.calibration import Calibration
from harness.models.anatomy import layer_shapes, layers, parameter_count
from harness.models.random_llama import build
from harness.pruning.budget import TOLERANCE
from harness.pruning.depth import leading, trim
from harness.pruning.extraction import Keep, extract
from harness.pruning.importance import measure
from harness.pruning.relay import perplexities_without


@every_model
def model(request):
    return made(*request.param)


def influence_order(model):
    return measure(model, TOKENS).influence.argsort().tolist()


def ppl_order(model):
    return sorted(range(6), key=lambda index: perplexity(model, TOKENS[:10], without=index))


def taylor_order(model):
    return sorted(range(1, 5), key=lambda index: weight_effects(model, TOKENS[:10])[index])


DEPTH = {
    "shortgpt": (ShortGPT, {}, influence_order),
    "ppl": (ShortenedLlama, {}, ppl_order),
    "taylor": (ShortenedLlama, {"criterion": "taylor"}, taylor_order),
    "inheritune": (Inheritune, {}, lambda model: [5, 4, 3, 2, 1, 0]),
}


def perplexity(model, tokens, without) -> float:
    """Return exp of the mean loss of the whole model class, built anew with one layer deleted."""
    shorter = copy.deepcopy(model)
    del shorter.model.layers[without]
    shorter.config.num_hidden_layers -= 1
    with torch.no_grad():
        return shorter(tokens, labels=tokens, use_cache=False).loss.double().exp().item()


def weight_effects(model, tokens) -> list[float]:
    reference = copy.deepcopy(model)
    for sample in tokens.split(1):
        reference(sample, labels=sample).loss.backward()
    return [
        sum(
            (weight.detach() * weight.grad).abs().sum().item()
            for name, weight in layer.named_parameters()
            if name.endswith("proj.weight")
        )
        for layer in layers(reference)
    ]


@pytest.mark.parametrize("budget", [0.93, 0.8, 0.71, 0.6])
@pytest.mark.parametrize("name", DEPTH)
def test_whole_layers_go_in_order_and_as_many_as_come_nearest(name, budget):
    kind, fields, order = DEPTH[name]
    model, dense = made(), parameter_count(made())
    layer = layer_shapes(model)[0].parameters  # all alike
    count = min(range(5), key=lambda count: abs(dense - count * layer - budget * dense))
    shorter = compressed(kind(budget=budget, exact=False, **fields), model)
    gone = order(model)[:count]
    kept = [index for index in range(6) if index not in gone]
    assert shorter.config.kept_layers == kept
    assert type(shorter) is type(model)
    for ours, index in zip(layers(shorter), kept, strict=True):
        theirs = layers(model)[index].state_dict()
        assert all(torch.equal(weight, theirs[key]) for key, weight in ours.state_dict().items())


@pytest.mark.parametrize("budget", [0.9, 0.75, 0.6])
@pytest.mark.parametrize("name", DEPTH)
def test_the_next_layer_in_the_order_loses_its_least_important_channels(name, budget):
    kind, fields, order = DEPTH[name]
    model, dense = made(), parameter_count(made())
    smaller = compressed(kind(budget=budget, **fields), model)
    gone = int((1 - budget) * dense / layer_shapes(model)[0].parameters)
    whole, following = (going := order(model))[:gone], going[gone]
    assert smaller.config.kept_layers == [index for index in range(6) if index not in whole]
    assert abs(parameter_count(smaller) - budget * dense) <= TOLERANCE * dense
    shapes = dict(zip(smaller.config.kept_layers, layer_shapes(smaller), strict=True))
    assert [index for index, shape in shapes.items() if shape.width < 160] == [following]
    down = layers(model)[following].mlp.down_proj.weight
    saliency = writer_inputs(model)[following]["mlp.down_proj"].square().sum(0).sqrt() * down.double().norm(dim=0)
    kept = saliency.argsort(descending=True)[: shapes[following].width].sort().values
    trimmed = layers(smaller)[smaller.config.kept_layers.index(following)]
    assert torch.equal(trimmed.mlp.down_proj.weight, down[:, kept])


@pytest.mark.parametrize(
    ("budget", "exact", "kept", "widths"),
    [
        (0.9, True, [0, 1, 2, 3, 4, 5], [160] * 5 + [16]),
        (0.75, True, [0, 1, 2, 3, 4], [160] * 4 + [24]),
        (0.6, True, [0, 1, 2, 3], [160] * 3 + [32]),
        (0.6, False, [0, 1, 2], [160] * 3),
    ],
)
def test_shortgpt_keeps_what_it_kept_before_it_shared_its_code(budget, exact, kept, widths):
    """Recorded from the version that had the rule in its own file."""
    smaller = ShortGPT(budget=budget, exact=exact).compress(build()[0], Calibration(TOKENS))
    assert smaller.config.kept_layers == kept
    assert [shape.width for shape in layer_shapes(smaller)] == widths


def test_perplexity_without_a_layer_is_that_of_the_model_built_without_it(model):
    expected = [perplexity(model, TOKENS, without=index) for index in range(6)]
    assert perplexities_without(model, TOKENS).tolist() == pytest.approx(expected, rel=1e-5)  # float32


def test_effects_are_weight_times_gradient_summed_over_a_layers_linears(model):
    actual = effects(copy.deepcopy(model), TOKENS[:3])
    assert actual == pytest.approx(weight_effects(model, TOKENS[:3]), rel=1e-4)  # float32 sums in another order


def test_shortened_llama_looks_at_ten_samples_only():
    broken = torch.cat([TOKENS[:10], torch.full((2, 32), 10**6)])  # tokens that no embedding has
    for criterion in ("ppl", "taylor"):
        method = ShortenedLlama(budget=0.7, exact=False, criterion=criterion)
        assert compressed(method, made(), broken).config.kept_layers == compressed(method, made()).config.kept_layers


@pytest.mark.parametrize(("depth", "open_layers"), [(32, range(4, 30)), (30, range(4, 28)), (6, range(1, 5))])
def test_taylor_protects_the_first_four_and_last_two_of_32_scaled_with_depth(depth, open_layers):
    assert unprotected(depth) == open_layers


@pytest.mark.parametrize("criterion", ["ppl", "taylor"])
def test_published_scripts_spare_the_first_four_and_last_two_whatever_the_depth(criterion):
    method = ShortenedLlama(budget=0.5, criterion=criterion, paper_compat=True)
    assert sorted(method.order(made(num_hidden_layers=9), TOKENS[:3])) == [4, 5, 6]
    with pytest.raises(ValueError, match="may drop none of the 6 layers"):
        compressed(method, made())


def test_published_scripts_choose_by_perplexity_as_the_paper_does_among_what_they_spare():
    model = made(num_hidden_layers=9)
    plain, compat = (ShortenedLlama(budget=0.5, paper_compat=flag).order(model, TOKENS[:3]) for flag in (False, True))
    assert compat == [index for index in plain if index in (4, 5, 6)]


def test_published_scripts_count_a_layers_two_norms_among_its_effects(model):
    actual = effects(copy.deepcopy(model), TOKENS[:3], with_norms=True)
    reference = copy.deepcopy(model).float()
    for row in TOKENS[:3]:
        reference(row[None], labels=row[None], use_cache=False).loss.backward()
    expected = []
    for layer in reference.model.layers:
        names = [name for name, _ in layer.named_parameters() if name.endswith(("_proj.weight", "layernorm.weight"))]
        assert len(names) == 9
        products = [layer.get_parameter(name).detach() * layer.get_parameter(name).grad for name in names]
        expected.append(sum(each.abs().double().sum().item() for each in products))
    assert actual == pytest.approx(expected, rel=1e-4)  # float32 sums in another order
    assert all(more > less for more, less in zip(actual, effects(model, TOKENS[:3]), strict=True))


@pytest.mark.parametrize("part", ["groups", "channels"])
def test_the_layer_that_loses_a_part_may_lack_attention_or_mlp(part):
    model, none = made(), torch.empty(0, dtype=torch.long)
    partial = extract(model, [Keep(index, **({part: none} if index == 3 else {})) for index in range(6)])
    keep = trim(layers(partial)[3], 3, 1000, torch.arange(0 if part == "channels" else 160).float())
    smaller = extract(partial, [keep if index == 3 else Keep(index) for index in range(6)])
    assert parameter_count(partial) - parameter_count(smaller) > 0
    assert getattr(layer_shapes(smaller)[3], "groups" if part == "groups" else "width") == 0


@pytest.mark.parametrize("exact", [True, False])
def test_protected_layers_stay_even_where_the_budget_cannot_be_met_with_them(exact):
    with pytest.raises(ValueError, match="the nearest budget it can meet is 0.37"):
        compressed(ShortenedLlama(budget=0.1, criterion="taylor", exact=exact), made())
    with pytest.raises(ValueError, match="may drop none of the 2 layers"):
        compressed(ShortenedLlama(budget=0.8, criterion="taylor"), made(num_hidden_layers=2))


def test_only_the_taylor_criterion_needs_gradients():
    calibration = {"source": {"name": "any"}, "samples": 4, "length": 8}
    backward = {
        criterion: Compress(method=ShortenedLlama(budget=0.5, criterion=criterion), calibration=calibration).cost()
        for criterion in ("ppl", "taylor")
    }
    assert (backward["ppl"].backward_tokens, backward["taylor"].backward_tokens) == (0, 32)
    assert LLMPruner(budget=0.5).needs == {"calibration", "backward"}


def test_leading_layers_go_until_one_more_would_be_too_many():
    assert leading([10, 10, 10], 25, exact=True, slack=1) == (2, 5)
    assert leading([10, 10, 10], 19.5, exact=True, slack=1) == (2, 0)  # half a parameter too many: nearer
    assert leading([10, 10, 10], 16, exact=False, slack=1) == (2, 0)
    assert leading([10, 10, 10], 14, exact=False, slack=1) == (1, 4)
    assert leading([10, 30], 0, exact=True, slack=1) == (0, 0)


def test_inheritune_keeps_the_first_layers_and_everything_around_them():
    model = made(tied=False)
    smaller = compressed(Inheritune(budget=0.6, exact=False), model)
    theirs = model.state_dict()
    assert smaller.config.kept_layers == [0, 1, 2]
    assert all(torch.equal(weight, theirs[name]) for name, weight in smaller.state_dict().items())
    assert {"model.embed_tokens.weight", "model.norm.weight", "lm_head.weight"} <= smaller.state_dict().keys()


def test_inheritune_needs_no_text_for_whole_layers():
    nothing = torch.empty(0, 0, dtype=torch.long)
    assert compressed(Inheritune(budget=0.6, exact=False), made(), nothing).config.kept_layers == [0, 1, 2]
