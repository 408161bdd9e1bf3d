"""NF4: stored in half a byte, loaded again the same, counted as the weights it stands for."""

from __future__ import annotations

import pytest
import torch
from runs import planned
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForCausalLM

from harness.config import ConfigErrors
from harness.machine import environment
from harness.measures.footprint import flops_per_token
from harness.models import checkpoint
from harness.models.anatomy import four_bit, layers, linears, parameter_count
from harness.models.size import nonzero_count, resident_bytes
from harness.pruning.extraction import Keep, extract, whole
from harness.quantizers.nf4 import Nf4, untaken

IDS = torch.arange(2, 42)[None]


@pytest.fixture(params=[torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
def quantized(request, tiny, tiny_folder, tmp_path):
    """The tiny model at widths that its kernels take and others, the same in NF4, and their folder."""
    keeps = whole(tiny[0])
    for index, (groups, channels) in {1: (2, 96), 2: (4, 64), 4: (3, 77)}.items():
        keeps[index] = Keep(index, torch.arange(groups), torch.arange(channels))
    checkpoint.save(extract(tiny[0], keeps).to(request.param), tmp_path / "dense", tiny_folder)
    return checkpoint.load(tmp_path / "dense"), Nf4().apply(tmp_path / "dense", tmp_path / "nf4"), tmp_path


def test_what_was_stored_loads_with_the_same_logits(quantized):
    dense, made, folder = quantized
    with torch.no_grad():
        ours, theirs = made(IDS).logits, checkpoint.load(folder / "nf4")(IDS).logits
        off = (theirs - dense(IDS).logits).norm() / theirs.norm()
    assert torch.equal(ours, theirs)
    assert 0 < off < 0.5


def test_counts_are_those_of_the_weights_it_stands_for_before_and_behind_a_pass(quantized):
    from bitsandbytes.functional import dequantize_4bit

    dense, _, folder = quantized
    again = checkpoint.load(folder / "nf4")
    packed = [weight for weight in again.parameters() if four_bit(weight)]
    zeros = sum(int((dequantize_4bit(weight.data, weight.quant_state) == 0).sum()) for weight in packed)
    assert zeros
    for _ in range(2):
        assert parameter_count(again) == parameter_count(dense)
        assert nonzero_count(again) == nonzero_count(dense) - zeros
        assert resident_bytes(again) < resident_bytes(dense)
        with torch.no_grad():
            again(IDS)


def test_products_that_torch_does_not_count_are_not_told(quantized):
    dense, made, _ = quantized
    assert flops_per_token(dense)
    assert flops_per_token(made) is None


def test_linears_that_its_kernels_do_not_take_stay_as_they_are(quantized):
    _, _, folder = quantized
    again = checkpoint.load(folder / "nf4")
    names = [(index, name, linear) for index, layer in enumerate(layers(again)) for name, linear in linears(layer)]
    kept = {f"model.layers.{index}.{name}" for index, name, linear in names if not four_bit(linear.weight)}
    assert kept == set(untaken(folder / "dense")) - {"lm_head"}
    assert 0 < len(kept) < len(names)


def test_packed_weights_of_another_shape_are_refused_by_name(quantized):
    _, _, folder = quantized
    path, name = folder / "dense" / "model.safetensors", "model.layers.0.self_attn.q_proj.weight"
    save_file(load_file(path) | {name: torch.zeros(32, 64)}, path, metadata={"format": "pt"})
    with pytest.raises(ValueError, match=rf"{name} \(32, 64\) instead of \(64, 64\)"):
        Nf4().apply(folder / "dense", folder / "again")


def test_transposed_linears_are_quantized_where_its_kernels_take_them(tiny, tmp_path):
    sizes = {"vocab_size": 258, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 128}
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model("gpt2", **sizes))
    (tmp_path / "gpt2").mkdir()
    tiny[1].save_pretrained(tmp_path / "gpt2")
    checkpoint.save(model, tmp_path / "gpt2", tmp_path / "gpt2")
    made = Nf4().apply(tmp_path / "gpt2", tmp_path / "nf4")
    packed = {name.rpartition("h.")[2] for name, weight in made.named_parameters() if four_bit(weight)}
    assert packed == {f"{layer}.mlp.c_proj.weight" for layer in range(2)}  # 128 inputs, where the others have 32
    assert parameter_count(made) == parameter_count(model)
    with torch.no_grad():
        assert made(IDS).logits.isfinite().all()


def test_a_missing_library_is_refused_with_the_command_that_installs_it(tmp_path, monkeypatch):
    there = environment.version
    monkeypatch.setattr(environment, "version", lambda name: "absent" if name == "bitsandbytes" else there(name))
    with pytest.raises(ConfigErrors) as told:
        planned(tmp_path, "methods=[middle]", "budgets=[0.8]", "quantizers=[none,nf4]")
    assert told.value.lines == [
        "quantizer nf4: needs bitsandbytes, which is not installed: pip install '.[nf4]'; or leave nf4 out"
    ]


def test_a_model_without_linears_it_takes_is_refused(tiny_folder, tmp_path, monkeypatch):
    monkeypatch.setattr("harness.quantizers.nf4.OUTPUTS", 1000)
    with pytest.raises(ValueError, match="nf4 finds no linear to quantize in a llama model"):
        Nf4().apply(tiny_folder, tmp_path / "nf4")
