"""What is deployed is what is compared: SmolLM2-135M in llama.cpp and OpenVINO beside torch.

On text of whole windows.
"""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch

from harness import registry
from harness.data.calibration import Calibration
from harness.measures.agreement import compared
from harness.models import source
from harness.models.gguf_tokenizer import SAMPLE
from harness.runtimes import llamacpp
from harness.runtimes.llamacpp import FILE, LlamaCpp
from harness.runtimes.openvino import OpenVino

pytestmark = [pytest.mark.real, pytest.mark.timeout(2700)]  # a processor without 16-bit instructions takes its time
LENGTH = 512
RECIPES = ("dense", "flap")
DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def real():
    """The dense model in float32, its tokenizer, and a window of this project's own text."""
    model, tokenizer = source._load(source.resolve("smollm2-135m"), seed=0)
    text = "\n\n".join(path.read_text() for path in sorted(DOCS.glob("*.md")))
    return model.float().eval(), tokenizer, torch.tensor(tokenizer(text).input_ids[:LENGTH])


def pruned(name, real):
    model, _, ids = copy.deepcopy(real[0]), *real[1:]
    if name == "dense":
        return model
    return registry.build(registry.methods()[name], {"budget": 0.8}).compress(model, Calibration(ids.view(4, -1)))


def apart(model, folder, ids, kind=LlamaCpp):
    """Return KL a token, the share of equal first choices, and the runtime's perplexity over torch's."""
    with torch.inference_mode():
        ours = model(input_ids=ids[None], use_cache=False).logits[0].numpy()
    engine = kind.engine(folder, threads=torch.get_num_threads(), batch=1, tokens=LENGTH)
    kl, same, here, there = compared(ours, engine.logits(ids.tolist()), ids.numpy())
    engine.close()
    return kl / LENGTH, same / LENGTH, torch.tensor((there - here) / (LENGTH - 1)).exp().item()


@pytest.mark.parametrize("name", RECIPES)
def test_perplexity_in_llama_cpp_is_that_of_torch_within_a_tenth_of_a_percent(name, real, tmp_path):
    model = pruned(name, real)
    LlamaCpp.convert(model, real[1], tmp_path)
    kl, same, ratio = apart(model, tmp_path, real[2])
    assert kl < 1e-4
    assert same > 0.99
    assert ratio == pytest.approx(1, abs=1e-3)


@pytest.fixture(scope="module")
def graph(real, tmp_path_factory):
    """The dense model's graph for OpenVINO."""
    folder = tmp_path_factory.mktemp("graph")
    OpenVino.convert(real[0], real[1], folder)
    return folder


def test_perplexity_in_openvino_is_that_of_torch_within_half_a_percent(real, graph):
    """At its defaults: bfloat16 where the processor has it, keys and values in 8 bits."""
    kl, same, ratio = apart(real[0], graph, real[2], OpenVino)
    assert kl < 5e-3
    assert same > 0.95
    assert ratio == pytest.approx(1, abs=5e-3)


def test_fewer_bits_in_openvino_are_scored_by_what_the_graph_holds(real, graph, tmp_path):
    model, _, ids = real
    OpenVino.quantize(graph, tmp_path, "int4")
    restored = OpenVino.restored(tmp_path, copy.deepcopy(model))
    by_weights, _, _ = apart(restored, tmp_path, ids, OpenVino)  # what the runtime's arithmetic adds
    by_bits, _, _ = apart(model, tmp_path, ids, OpenVino)  # what it loses against the dense model
    assert by_weights < 0.02
    assert by_weights < 0.5 * by_bits + 1e-3


def test_fewer_bits_in_llama_cpp_are_scored_by_what_the_file_holds(real, tmp_path):
    model, tokenizer, ids = real
    LlamaCpp.convert(model, tokenizer, tmp_path / "whole")
    LlamaCpp.quantize(tmp_path / "whole", tmp_path / "q4_0", "q4_0")
    file = LlamaCpp.restored(tmp_path / "q4_0", copy.deepcopy(model))
    by_weights, _, _ = apart(
        file, tmp_path / "q4_0", ids
    )  # what is left between torch and the runtime on these weights
    by_bits, _, _ = apart(model, tmp_path / "q4_0", ids)  # what the runtime loses against the dense model
    assert by_weights < 0.02
    assert by_weights < 0.5 * by_bits + 1e-3


def test_text_of_many_scripts_is_cut_into_the_same_tokens(real, tmp_path):
    model, tokenizer, _ = real
    LlamaCpp.convert(model, tokenizer, tmp_path)  # which compares words of the sample already
    loaded = llamacpp.loaded(tmp_path / FILE)
    vocabulary = loaded.get_vocab()
    for path in sorted(DOCS.rglob("*.md")):
        text = path.read_text() + SAMPLE
        assert list(vocabulary.tokenize(text, False, False)) == tokenizer(text, add_special_tokens=False).input_ids


def test_the_real_model_is_written_in_sixteen_bits_as_it_is(real, tmp_path):
    model = copy.deepcopy(real[0]).to(torch.bfloat16)
    LlamaCpp.convert(model, real[1], tmp_path)
    assert LlamaCpp.size(tmp_path) == pytest.approx(2 * 134_515_008, rel=0.01)
    again = LlamaCpp.restored(tmp_path, copy.deepcopy(model))
    assert all(torch.equal(one.float(), two) for one, two in zip(model.parameters(), again.parameters(), strict=True))
