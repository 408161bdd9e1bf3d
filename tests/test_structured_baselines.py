"""Structured baselines against independent statements of their papers' formulas, on every decoder family."""

from __future__ import annotations

import copy
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from families import FAMILIES, SIZES

from baselines.flap import Flap, fluctuation, group_scores, standardized
from baselines.inheritune import Inheritune
from baselines.llm_pruner import LLMPruner
from baselines.shortened_llama import ShortenedLlama, effects, perplexities_without, unprotected
from baselines.shortgpt import ShortGPT
from baselines.wanda_sp import WandaSp
from harness.compress import Compress
from harness.data.calibration import Calibration
from harness.models import checkpoint
from harness.models.random_llama import build
from harness.pruning.anatomy import LayerShape, layer_shapes, layers, parameter_count
from harness.pruning.budget import TOLERANCE
from harness.pruning.depth import leading
from harness.pruning.extraction import Keep, extract
from harness.pruning.importance import measure
from harness.pruning.moments import Moments
from harness.pruning.threshold import LEAST, best_parts
from harness.quantizers.int8 import Int8
from harness.recovery.refit import refitted

TOKENS = torch.randint(2, 258, (12, 32), generator=torch.Generator().manual_seed(3))
SHAPE = {**SIZES, "num_hidden_layers": 6, "intermediate_size": 160}
MODELS = [
    ("llama", 4, True),
    ("llama", 8, False),  # no grouping
    ("mistral", 2, False),
    ("qwen2", 4, False),
    ("qwen3", 2, True),
]
WRITERS = {"self_attn.o_proj": 0, "mlp.down_proj": 1}


def made(family="llama", groups=4, tied=True, **sizes):
    """A random model of `groups` key-value heads for 8 query heads; biases, where it has them, are not zero."""
    causal, config = FAMILIES[family]
    torch.manual_seed(0)
    model = causal(config(**{**SHAPE, "num_key_value_heads": groups, **sizes}, tie_word_embeddings=tied)).eval()
    for name, weight in model.named_parameters():
        if name.endswith("bias"):
            torch.nn.init.normal_(weight, std=0.1)
    return model


@pytest.fixture(params=MODELS, ids=lambda value: f"{value[0]}-{value[1]}groups-{'tied' if value[2] else 'untied'}")
def model(request):
    return made(*request.param)


def compressed(method, model, tokens=TOKENS):
    return method.compress(copy.deepcopy(model), Calibration(tokens))


def writer_inputs(model, tokens=TOKENS) -> list[dict[str, torch.Tensor]]:
    """Return what o_proj and down_proj of each layer receive (tokens, in), by plain hooks on one pass of the whole model."""
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
    found = []
    for ours, theirs in zip(layers(smaller), layers(model), strict=True):
        size = theirs.self_attn.head_dim
        pairs = ((ours.self_attn.k_proj, theirs.self_attn.k_proj, size), (ours.mlp.gate_proj, theirs.mlp.gate_proj, 1))
        found.append(tuple(places(after.weight[::unit], before.weight[::unit]) for after, before, unit in pairs))
    return found


# depth ---------------------------------------------------------------------------------------------------------------


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
    kept = [index for index in range(6) if index not in order(model)[:count]]
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
    whole, following = order(model)[:gone], order(model)[gone]
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
    found = effects(copy.deepcopy(model), TOKENS[:3])
    assert found == pytest.approx(weight_effects(model, TOKENS[:3]), rel=1e-4)  # float32 sums in another order


def test_shortened_llama_looks_at_ten_samples_only():
    broken = torch.cat([TOKENS[:10], torch.full((2, 32), 10**6)])  # tokens that no embedding has
    for criterion in ("ppl", "taylor"):
        method = ShortenedLlama(budget=0.7, exact=False, criterion=criterion)
        assert compressed(method, made(), broken).config.kept_layers == compressed(method, made()).config.kept_layers


@pytest.mark.parametrize(("depth", "open_layers"), [(32, range(4, 30)), (30, range(4, 28)), (6, range(1, 5))])
def test_taylor_protects_the_first_four_and_last_two_of_32_scaled_with_depth(depth, open_layers):
    assert unprotected(depth) == open_layers


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


# width ---------------------------------------------------------------------------------------------------------------

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
    """Return per layer the kept groups and channels: FLAP in numpy, every threshold tried; `extra`: parameters of biases."""
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

    def stays(scores, threshold, least):
        return [(layer >= threshold) | (layer >= np.sort(layer)[-least]) for layer in scores]

    def miss(groups, channels):
        gone = sum((~layer).sum() for layer in groups) * shape.group_parameters
        gone += sum((~layer).sum() for layer in channels) * shape.channel_parameters
        return abs(extra - gone + (1 - budget) * parameter_count(model))

    both = min(np.concatenate(heads + neurons), key=lambda t: miss(stays(heads, t, 1), stays(neurons, t, LEAST)))
    groups = stays(heads, both, 1)
    own = min(np.concatenate(neurons), key=lambda t: miss(groups, stays(neurons, t, LEAST)))
    kept = zip(groups, stays(neurons, own, LEAST), strict=True)
    return [tuple(part.nonzero()[0].tolist() for part in parts) for parts in kept]


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


# biases in what comes after ------------------------------------------------------------------------------------------


@pytest.fixture
def biased(model):
    return compressed(Flap(budget=0.7), model)


def logits(model, tokens=TOKENS):
    with torch.no_grad():
        return model(tokens).logits


@pytest.mark.parametrize("budget", [0.7, 1.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_biases_are_saved_and_reloaded_bit_exact(model, budget, dtype, tmp_path, tiny_folder):
    for weight in model.parameters():
        weight.data = weight.data.to(dtype)  # not the buffers, which no checkpoint holds
    smaller = compressed(Flap(budget=budget), model)
    checkpoint.save(smaller, tmp_path / "saved", tiny_folder)
    again = checkpoint.load(tmp_path / "saved")
    assert torch.equal(logits(smaller), logits(again))
    assert again.config.output_bias is True
    assert all(torch.equal(*pair) for pair in zip(smaller.parameters(), again.parameters(), strict=True))
    assert again.model.layers[3].mlp.down_proj.bias.dtype == dtype


def test_whole_layers_with_biases_reload_too(model, tmp_path, tiny_folder):
    """No layer differs from the configuration's widths, and yet the family's own class would have no place for the biases."""
    smaller = compressed(Flap(budget=1.0), model)
    shapes = layer_shapes(smaller)
    whole = extract(smaller, [Keep(index) for index, shape in enumerate(shapes) if shape.width == 160])
    assert len(layers(whole)) > 1
    checkpoint.save(whole, tmp_path / "saved", tiny_folder)
    assert torch.equal(logits(whole), logits(checkpoint.load(tmp_path / "saved")))


def test_a_folder_with_biases_needs_nothing_of_ours_to_load(tmp_path, tiny_folder):
    smaller = compressed(Flap(budget=0.7), made())
    checkpoint.save(smaller, tmp_path / "saved", tiny_folder)
    torch.save((TOKENS, logits(smaller)), tmp_path / "expected.pt")
    script = (
        "import sys, torch; from transformers import AutoModelForCausalLM\n"
        "model = AutoModelForCausalLM.from_pretrained('saved', trust_remote_code=True).eval()\n"
        "tokens, expected = torch.load('expected.pt')\n"
        "assert not any(name.split('.')[0] in ('harness', 'baselines') for name in sys.modules)\n"
        "assert max(layer.self_attn.o_proj.bias.abs().max() for layer in model.model.layers) > 0\n"
        "with torch.no_grad(): assert torch.equal(model(tokens).logits, expected)\n"
    )
    environment = {**os.environ, "HF_MODULES_CACHE": str(tmp_path / "modules"), "PYTHONPATH": ""}
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-2000:]


def test_cached_generation_with_biases_equals_uncached(biased):
    runs = [
        biased.generate(
            TOKENS[:2, :8],
            attention_mask=torch.ones(2, 8, dtype=torch.long),
            max_new_tokens=6,
            do_sample=False,
            use_cache=use,
        )
        for use in (True, False)
    ]
    assert torch.equal(*runs)


def test_int8_goes_on_top_of_biases(biased, tmp_path, tiny_folder):
    checkpoint.save(biased.to(torch.bfloat16), tmp_path / "saved", tiny_folder)
    quantized = Int8().apply(tmp_path / "saved", tmp_path / "int8")
    again = checkpoint.load(tmp_path / "int8")
    assert torch.equal(logits(quantized), logits(again))
    assert torch.equal(again.model.layers[1].mlp.down_proj.bias, biased.model.layers[1].mlp.down_proj.bias)


def test_refit_goes_on_top_of_biases_and_leaves_them(biased, model, tmp_path, tiny_folder):
    before = copy.deepcopy(biased.state_dict())
    found = list(refitted(biased, model, TOKENS, target="output", damp=0.1))
    assert all(row["after"] <= row["before"] for row in found)
    changed = {name for name, weight in biased.state_dict().items() if not torch.equal(weight, before[name])}
    assert changed
    assert not any(name.endswith("bias") for name in changed)
    checkpoint.save(biased, tmp_path / "saved", tiny_folder)
    assert torch.equal(logits(biased), logits(checkpoint.load(tmp_path / "saved")))


@pytest.mark.parametrize("second", [ShortGPT, LLMPruner, WandaSp, Flap])
def test_a_method_after_flap_carries_the_biases(second, biased):
    smaller = compressed(second(budget=0.8), biased)
    assert smaller.config.output_bias is True
    assert all(layer.self_attn.o_proj.bias is not None for layer in layers(smaller))
    assert abs(parameter_count(smaller) - 0.8 * parameter_count(biased)) <= TOLERANCE * parameter_count(biased)


def test_layers_without_attention_or_mlp_are_passed_over(model):
    none = torch.arange(0)
    holes = extract(model, [Keep(0), Keep(1, groups=none), Keep(2, channels=none), Keep(3), Keep(4), Keep(5)])
    for method in (WandaSp(budget=0.8), Flap(budget=0.8)):
        shapes = layer_shapes(compressed(method, holes))
        assert (shapes[1].groups, shapes[2].width) == (0, 0)
        assert shapes[1].width
        assert shapes[2].groups
