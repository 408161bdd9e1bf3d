"""NF4: stored in half a byte, loaded again the same, counted as the weights it stands for."""

import pytest
import torch
from absent_parts import PARTS, shaped
from runs import planned

from harness.config import ConfigErrors
from harness.machine import environment
from harness.models import checkpoint
from harness.models.anatomy import layers, linears, parameter_count
from harness.models.size import four_bit, nonzero_count, resident_bytes
from harness.quantizers.nf4 import Nf4, untaken

IDS = torch.arange(2, 42)[None]


@pytest.fixture
def quantized(tiny_folder, tmp_path):
    model = shaped(checkpoint.load(tiny_folder), PARTS["narrow"])
    checkpoint.save(model, tmp_path / "narrow", tiny_folder)
    return checkpoint.load(tmp_path / "narrow"), Nf4().apply(tmp_path / "narrow", tmp_path / "nf4"), tmp_path


def test_what_was_stored_loads_with_the_same_logits(quantized):
    dense, made, folder = quantized
    with torch.no_grad():
        ours, theirs = made(IDS).logits, checkpoint.load(folder / "nf4")(IDS).logits
        off = (theirs - dense(IDS).logits).norm() / theirs.norm()
    assert torch.equal(ours, theirs)
    assert 0 < off < 0.5


def test_counts_are_those_of_the_weights_it_stands_for(quantized):
    dense, _, folder = quantized
    again = checkpoint.load(folder / "nf4")
    assert parameter_count(again) == parameter_count(dense)
    assert 0.9 * parameter_count(dense) < nonzero_count(again) < parameter_count(dense)
    assert resident_bytes(again) < 0.6 * resident_bytes(dense)


def test_linears_that_its_kernels_do_not_take_stay_as_they_are(quantized):
    dense, _, folder = quantized
    again = checkpoint.load(folder / "nf4")
    kept = {
        f"model.layers.{index}.{name}"
        for index, layer in enumerate(layers(again))
        for name, linear in linears(layer)
        if not four_bit(linear.weight)
    }
    assert kept == set(untaken(folder / "narrow")) - {"lm_head"}
    assert kept == {
        f"model.layers.{index}.{name}"
        for index, layer in enumerate(layers(dense))
        for name, linear in linears(layer)
        if linear.in_features % 64 or linear.out_features % 32
    }


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
