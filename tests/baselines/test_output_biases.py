"""Biases that FLAP adds live through everything that comes after.

Saving, generation, int8, refit, a second method.
"""

from __future__ import annotations

import copy

import pytest
import torch
from structured_models import TOKENS, compressed, every_model, logits, made

from baselines.flap import Flap
from baselines.llm_pruner import LLMPruner
from baselines.shortgpt import ShortGPT
from baselines.wanda_sp import WandaSp
from harness.models import checkpoint
from harness.models.anatomy import layer_shapes, layers, parameter_count
from harness.pruning.budget import TOLERANCE
from harness.pruning.extraction import Keep, extract
from harness.quantizers.int8 import Int8
from harness.recovery.refit_step import refitted


@every_model
def model(request):
    return made(*request.param)


@pytest.fixture
def biased(model):
    return compressed(Flap(budget=0.7), model)


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
    """No layer differs from the configuration's widths, yet the family's own class does not fit.

    It would have no place for the biases.
    """
    smaller = compressed(Flap(budget=1.0), model)
    shapes = layer_shapes(smaller)
    whole = extract(smaller, [Keep(index) for index, shape in enumerate(shapes) if shape.width == 160])
    assert len(layers(whole)) > 1
    checkpoint.save(whole, tmp_path / "saved", tiny_folder)
    assert torch.equal(logits(whole), logits(checkpoint.load(tmp_path / "saved")))


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
    actual = list(refitted(biased, model, TOKENS, target="output", damp=0.1))
    assert all(row["after"] <= row["before"] for row in actual)
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
