"""GPTQ and AWQ as quantizers: better than rounding, on windows of the run, at widths of any size."""

import copy
import importlib.util
import json

import pytest
import torch
from absent_parts import PARTS, shaped
from runs import planned, ran
from structured_models import made

from harness import registry
from harness.config import ConfigErrors
from harness.models import checkpoint
from harness.models.anatomy import layers, linears, parameter_count
from harness.quantizers import four_bits
from harness.quantizers.four_bits import Awq4, FourBits, Gptq4

KINDS = (Gptq4, Awq4)
TOKENS = torch.randint(2, 258, (12, 64), generator=torch.Generator().manual_seed(1))


class Nearest(FourBits):
    """Round to nearest, with the same groups: what calibration has to beat."""

    NAME = "nearest"

    def modifiers(self, model, groups):
        return {"QuantizationModifier": {"ignore": four_bits.HEAD, "config_groups": groups}}


@pytest.fixture
def uneven(tiny_folder, tmp_path):
    """A model whose channels differ in size, as trained ones do; AWQ and GPTQ live on that."""
    model = checkpoint.load(tiny_folder)
    draws = torch.Generator().manual_seed(3)
    for layer in layers(model):
        for norm in (layer.input_layernorm, layer.post_attention_layernorm):
            norm.weight.data = torch.exp(torch.randn(norm.weight.shape, generator=draws))
    checkpoint.save(model, tmp_path / "uneven", tiny_folder)
    return tmp_path / "uneven"


def error(folder, model):
    """Return how far the stored model's logits are from those of `model`, squared, on the windows."""
    with torch.no_grad():
        return (checkpoint.load(folder)(TOKENS).logits - model(TOKENS).logits).pow(2).mean().item()


@pytest.mark.parametrize("kind", KINDS)
def test_calibrated_bits_are_better_than_rounded_ones(kind, uneven, tmp_path):
    model = checkpoint.load(uneven)
    for each in (kind, Nearest):
        each().calibrate(uneven, tmp_path / each.NAME, TOKENS, "cpu")
    assert error(tmp_path / kind.NAME, model) < 0.95 * error(tmp_path / "nearest", model)


@pytest.mark.parametrize("kind", KINDS)
def test_counts_are_those_of_the_model_and_groups_are_told(kind, tiny_folder, tmp_path):
    model = shaped(checkpoint.load(tiny_folder), PARTS["unpadded"])
    checkpoint.save(copy.deepcopy(model), tmp_path / "unpadded", tiny_folder)
    facts = kind().calibrate(tmp_path / "unpadded", tmp_path / "out", TOKENS, "cpu")
    assert facts["parameters"] == parameter_count(model)
    assert 0.8 * facts["parameters"] < facts["nonzero_parameters"] <= facts["parameters"]
    sizes = [four_bits.group(linear.in_features) for layer in layers(model) for _, linear in linears(layer)]
    assert facts["groups"] == {size: sizes.count(size) for size in set(sizes)}
    assert facts["groups"][0] == 2  # down_proj of 77 and of 33 channels stay as they are


def test_a_group_divides_its_row():
    assert [four_bits.group(row) for row in (576, 96, 80, 77)] == [64, 32, 16, 0]


@pytest.mark.parametrize("groups", [2, 8])
def test_awq_scales_what_a_layer_has(groups):
    model = shaped(made(groups=groups), {2: (0, 160), 3: (groups, 0), 4: (groups, 77)})
    pairs = {each["smooth_layer"]: each["balance_layers"] for each in four_bits.mappings(model)}
    assert "model.layers.2.input_layernorm" not in pairs
    assert "model.layers.3.post_attention_layernorm" not in pairs
    assert pairs["model.layers.1.mlp.up_proj"] == ["model.layers.1.mlp.down_proj"]
    assert "model.layers.4.mlp.up_proj" not in pairs
    assert ("model.layers.1.self_attn.v_proj" in pairs) == (groups == 8)


def test_calibrated_rows_are_emulated_and_saw_the_windows_of_the_run(tmp_path):
    made_, store, _, rows = ran(
        tmp_path, "methods=[middle]", "budgets=[0.8]", "quantizers=[none,gptq4]", "measure.speed=false"
    )
    row = next(each for each in rows if each["variant"] == "middle@0.8+gptq4")
    assert row["emulated"]
    assert row["bytes_on_disk"] < 0.8 * next(each for each in rows if each["variant"] == "middle@0.8")["bytes_on_disk"]
    node = next(each for each in made_.variants if each.name == "middle@0.8+gptq4").checkpoint
    assert node.step.calibration == node.parent.step.calibration
    assert store.result(node.key)["calibration_tokens"] == node.step.calibration.tokens
    assert sum(store.result(node.key)["groups"].values()) == 42
    json.dumps(store.result(node.key))


def test_a_missing_library_is_refused_with_the_command_that_installs_it(tmp_path, monkeypatch):
    there = importlib.util.find_spec
    monkeypatch.setattr(
        four_bits.importlib.util,
        "find_spec",
        lambda name, *more: None if name == "llmcompressor" else there(name, *more),
    )
    with pytest.raises(ConfigErrors) as told:
        planned(tmp_path, "methods=[middle]", "budgets=[0.8]", "quantizers=[none,gptq4]")
    assert told.value.lines == [
        "quantizer gptq4: needs llm-compressor, which is not installed: pip install '.[llmcompressor]'; or leave gptq4 out"
    ]


def test_a_quantizer_that_looks_at_no_windows_has_the_key_it_had(tmp_path):
    made_, _ = planned(tmp_path, "methods=[middle]", "budgets=[0.8]", "quantizers=[int8]")
    fields = made_.variants[0].checkpoint.step.fingerprint_fields()
    assert not {"calibration", "seed"} & set(fields)


def test_what_has_nothing_to_quantize_is_refused(tiny_folder, tmp_path, monkeypatch):
    monkeypatch.setattr(four_bits, "by_group", lambda model: {})
    with pytest.raises(ValueError, match="gptq4 finds no linear to quantize in a llama model"):
        Gptq4().calibrate(tiny_folder, tmp_path / "out", TOKENS, "cpu")


def test_calibrated_quantizers_are_found():
    assert [name for name, kind in registry.quantizers().items() if kind.CALIBRATED] == ["gptq4", "awq4"]
