"""SparseML recipes through llm-compressor.

Shipped ones run, our Wanda and SparseGPT are theirs, wrong ones are refused.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from runs import ran, words
from structured_models import TOKENS, compressed, logits, made

from baselines.sparsegpt import SparseGPT
from baselines.sparseml import SparseML
from baselines.wanda import Wanda
from harness import registry
from harness.cli import main
from harness.models import checkpoint
from harness.models.anatomy import layers, linears, parameter_count
from harness.models.random_llama import build
from harness.models.zeros import zero_masks
from harness.outside import sparse_recipes
from harness.outside.run_recipe import apply, quantized

PRUNING = """
sparsity_stage:
  sparsity_modifiers:
    {modifier}:
      sparsity: 0.5
      mask_structure: "{pattern}"
      targets: ["Linear"]
      ignore: ["re:.*lm_head"]
"""
SHAPES = [("llama", 4, True), ("llama", 8, False), ("qwen2", 4, False), ("qwen3", 2, True)]
every_shape = pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: f"{shape[0]}-{shape[1]}groups")


def theirs(model, recipe: str, tmp_path: Path):
    """Return a copy of `model` after the recipe."""
    model.save_pretrained(tmp_path / "dense")
    changed = checkpoint.load(tmp_path / "dense")  # llm-compressor looks for the folder that a model came from
    apply(changed, recipe, TOKENS, build()[1], tmp_path / "recipe.yaml")
    return changed


def weights(model) -> dict[str, torch.Tensor]:
    return {
        f"{index}.{name}": linear.weight for index, layer in enumerate(layers(model)) for name, linear in linears(layer)
    }


@every_shape
@pytest.mark.parametrize("pattern", ["0:0", "2:4", "4:8"])
def test_our_wanda_mask_is_llm_compressors_bit_for_bit(shape, pattern, tmp_path):
    model = made(*shape)
    other = weights(theirs(model, PRUNING.format(modifier="WandaPruningModifier", pattern=pattern), tmp_path))
    method = Wanda(sparsity=0.5) if pattern == "0:0" else Wanda(pattern=pattern)
    ours = weights(compressed(method, model))
    assert all(torch.equal(ours[name], other[name]) for name in ours)
    assert all((weight == 0).float().mean() == 0.5 for weight in ours.values())


@every_shape
@pytest.mark.parametrize("pattern", ["0:0", "2:4"])
def test_our_sparsegpt_mask_is_llm_compressors_but_for_half_a_percent(shape, pattern, tmp_path):
    model = made(*shape)
    other = weights(theirs(model, PRUNING.format(modifier="SparseGPTModifier", pattern=pattern), tmp_path))
    method = SparseGPT(sparsity=0.5) if pattern == "0:0" else SparseGPT(pattern=pattern)
    ours = weights(compressed(method, model))
    count = sum(weight.numel() for weight in ours.values())
    unlike = sum(((ours[name] == 0) != (other[name] == 0)).sum().item() for name in ours)
    assert unlike <= 0.005 * count
    same = [(ours[name] == 0) == (other[name] == 0) for name in ours]
    apart = max((ours[name] - other[name])[mask].abs().max() for name, mask in zip(ours, same, strict=True))
    assert unlike or apart < 1e-3  # of equal masks, what is left of the weights is equal but for rounding


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    folder = tmp_path_factory.mktemp("recipes")
    names = [name for name in sparse_recipes.shipped() if not name.startswith("original_")]
    methods = ",".join(f'"sparseml:{name}"' for name in names)
    return (
        folder,
        *ran(folder, f"methods=[{methods},'magnitude+sparseml:w8a8']", "budgets=[0.8]", "quantizers=[none]"),
    )


def test_every_shipped_recipe_ends_in_a_complete_row(table):
    *_, summary, rows = table
    assert not summary.failed
    named = {row["variant"]: row for row in rows}
    assert {
        f"sparseml:{name}" for name in ("wanda_2of4", "sparsegpt_50", "gptq_w4a16", "smoothquant_w8a8", "w8a8")
    } <= set(named)
    dense = named["dense"]
    for name, row in named.items():
        assert row["status"] == "ok", name
        assert row["parameters"] == dense["parameters"], name  # scales and zero points are not counted
        assert row["average"] is not None
    for name in ("wanda_2of4", "sparsegpt_50"):
        assert named[f"sparseml:{name}"]["simulated"]
        assert not named[f"sparseml:{name}"]["emulated"]
        assert named[f"sparseml:{name}"]["bytes_on_disk"] == dense["bytes_on_disk"]
        prunable = sum(weight.numel() for weight in weights(checkpoint.load(Path(dense["checkpoint"]))).values())
        zeros = dense["nonzero_parameters"] - named[f"sparseml:{name}"]["nonzero_parameters"]
        assert zeros == pytest.approx(prunable / 2, rel=0.001)
    for name in ("gptq_w4a16", "smoothquant_w8a8", "w8a8"):
        assert not named[f"sparseml:{name}"]["simulated"]
        assert named[f"sparseml:{name}"]["emulated"]
        assert named[f"sparseml:{name}"]["bytes_on_disk"] < 0.5 * dense["bytes_on_disk"]
    assert named["magnitude+sparseml:w8a8@0.8"]["simulated"]


@pytest.mark.parametrize("name", ["gptq_w4a16", "smoothquant_w8a8", "w8a8"])
def test_a_quantized_checkpoint_reloads_with_the_outputs_it_was_saved_with(name, tmp_path, tiny_folder):
    model = checkpoint.load(tiny_folder)
    before = logits(model)
    apply(model, sparse_recipes.read(name), TOKENS, build()[1], tmp_path / "recipe.yaml")
    assert quantized(model)
    after = logits(model)
    assert not torch.equal(after, before)
    checkpoint.save(model, tmp_path / "saved", tiny_folder)
    again = checkpoint.load(tmp_path / "saved")
    assert torch.equal(logits(again), after)
    assert checkpoint.quantization(tmp_path / "saved") == "compressed-tensors"
    assert parameter_count(again) == parameter_count(checkpoint.load(tiny_folder))


def test_a_quantizer_on_top_of_a_quantizing_recipe_is_a_row_that_says_why(tmp_path):
    _, _, summary, rows = ran(tmp_path, 'methods=["sparseml:w8a8"]', "quantizers=[int8]", "measure.speed=false")
    (reason,) = set(summary.failed.values())
    assert reason == "the recipe quantized this model already (compressed-tensors); int8 cannot go on top"
    assert [row["status"] for row in rows] == ["ok", "failed"]


def test_recovery_keeps_the_zeros_of_a_recipe(tmp_path):
    recipe = f"sparseml:{written(tmp_path, PRUNING.format(modifier='WandaPruningModifier', pattern='2:4'))}"
    methods = f"methods=['{recipe}+recover(tokens=128,batch=2,length=32)']"
    _, _, summary, rows = ran(tmp_path, methods, "quantizers=[none]", "measure.speed=false")
    assert not summary.failed
    assert rows[1]["variant"] == "sparseml:mine+recover(tokens=128,batch=2,length=32)"
    masks = zero_masks(layers(checkpoint.load(Path(rows[1]["checkpoint"]))))
    assert len(masks) == 6 * 7
    assert all((~mask).float().mean() == 0.5 for mask in masks.values())


def written(folder: Path, text: str) -> Path:
    (folder / "mine.yaml").write_text(text)
    return folder / "mine.yaml"


def test_the_text_of_the_recipe_is_in_the_key_and_not_its_place(tmp_path):
    recipe = PRUNING.format(modifier="WandaPruningModifier", pattern="2:4")
    (tmp_path / "other").mkdir()
    first, moved, changed = (
        SparseML(recipe=str(written(folder, text)), engine="llmcompressor")
        for folder, text in ((tmp_path, recipe), (tmp_path / "other", recipe), (tmp_path, recipe.replace("0.5", "0.4")))
    )
    assert first.text == moved.text != changed.text


WRONG = {
    "modifier": (
        ("WandaPruningModifer", "2:4"),
        "modifier WandaPruningModifer is unknown; did you mean WandaPruningModifier",
    ),
    "field": (
        ("WandaPruningModifier", '2:4"\n      sparsty: "3'),
        "WandaPruningModifier.sparsty: no such key; did you mean sparsity",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_llm_compressor_would_pass_over_is_refused_before_any_work(case, tmp_path, capsys):
    (modifier, pattern), line = WRONG[case]
    file = written(tmp_path, PRUNING.format(modifier=modifier, pattern=pattern))
    assert main(["plan", *words(tmp_path, f"methods=['sparseml:{file}']")]) == 2
    assert line in capsys.readouterr().err


def test_a_recipe_without_modifiers_and_a_missing_one_are_refused(tmp_path):
    file = written(tmp_path, "sparsity:\n  modifiers:\n    WandaPruningModifier: {sparsity: 0.5}\n")
    with pytest.raises(ValueError, match="no modifiers in it"):
        registry.build(*registry.parse(f"sparseml:{file}", {}))
    with pytest.raises(ValueError, match="wanda_24: no such file, and no shipped recipe; did you mean wanda_2of4"):
        registry.build(*registry.parse("sparseml:wanda_24", {}))


def test_a_recipe_that_prunes_a_tied_head_is_refused(tmp_path, tiny_folder):
    model = checkpoint.load(tiny_folder)
    recipe = PRUNING.format(modifier="WandaPruningModifier", pattern="2:4").replace('ignore: ["re:.*lm_head"]', "")
    with pytest.raises(ValueError, match="the recipe changes lm_head"):
        apply(model, recipe, TOKENS, build()[1], tmp_path / "recipe.yaml")


def test_the_original_needs_its_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path))
    with pytest.raises(ValueError, match="`harness env create sparseml` builds it"):
        registry.build(*registry.parse("sparseml:original_wanda_2of4(engine=sparseml)", {}))
