"""A decoder in a GGUF file computes in llama.cpp what it computes in transformers.

Whatever its layers lack.
"""

import copy

import numpy as np
import pytest
import torch
from absent_parts import PARTS, shaped
from structured_models import made
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from harness.gguf import model_file
from harness.models import random_llama
from harness.models.anatomy import layer_shapes
from harness.models.per_layer import add_output_biases
from harness.runtimes.llamacpp import FILE, LlamaCpp, LlamaCppEngine

IDS = torch.randint(2, 258, (96,), generator=torch.Generator().manual_seed(5))

YARN = {"rope_type": "yarn", "factor": 4.0, "rope_theta": 1e4, "original_max_position_embeddings": 32}
LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 1e4,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}


def tokenizer():
    return random_llama.build()[1]


def in_llama_cpp(model, folder):
    LlamaCpp.convert(model, tokenizer(), folder)
    engine = LlamaCppEngine(folder / FILE, threads=1, batch=1, tokens=len(IDS))
    logits = engine.logits(IDS.tolist())
    engine.close()
    return logits


def in_torch(model):
    with torch.no_grad():
        return model(IDS[None]).logits[0].float().numpy()


def close(one, other):
    """float32 on both sides, but for keys and values, which llama.cpp keeps in 16 bits."""
    return np.abs(one - other).max() < 5e-3 * np.abs(other).max()


@pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])
@pytest.mark.parametrize("family", ["llama", "qwen2", "qwen3"])
def test_a_dense_model_of_each_family_has_the_same_logits(family, tied, tmp_path):
    model = made(family, tied=tied)
    assert close(in_llama_cpp(model, tmp_path), in_torch(model))


@pytest.mark.parametrize("parts", PARTS.values(), ids=PARTS)
@pytest.mark.parametrize("family", ["llama", "qwen2"])
def test_layers_of_widths_of_their_own_have_the_same_logits(family, parts, tmp_path):
    model = shaped(made(family), parts)
    assert close(in_llama_cpp(model, tmp_path), in_torch(model))


def test_qwen3_of_widths_of_its_own_has_the_same_logits(tmp_path):
    model = shaped(made("qwen3"), PARTS["narrow"])
    assert model_file.of_model(model).architecture == "openelm"
    assert close(in_llama_cpp(model, tmp_path), in_torch(model))


@pytest.mark.parametrize("parts", ["no attention", "no MLP", "first without attention"])
def test_biases_behind_pruned_layers_are_in_the_file(parts, tmp_path):
    model = shaped(made("llama"), PARTS[parts])
    add_output_biases(model)
    for name, weight in model.named_parameters():
        if name.endswith("bias"):
            torch.nn.init.normal_(weight, std=0.1)
    assert close(in_llama_cpp(model, tmp_path), in_torch(model))


@pytest.mark.parametrize("name", ["narrow", "unpadded", "all of it"])
def test_a_file_gives_back_every_weight_of_its_model(name, tmp_path):
    model = shaped(made("llama"), PARTS[name])
    model_file.write(model, tokenizer(), tmp_path / FILE)
    blank = copy.deepcopy(model)
    for weight in blank.parameters():
        torch.nn.init.zeros_(weight)
    again = dict(model_file.restored(tmp_path / FILE, blank).named_parameters())
    assert all(torch.equal(again[name], weight) for name, weight in model.named_parameters())


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16])
def test_sixteen_bits_stay_the_sixteen_bits_they_are(kind, tmp_path):
    model = made("llama").to(kind)
    model_file.write(model, tokenizer(), tmp_path / FILE)
    assert set(model_file.parameters(tmp_path / FILE).values()) == {"F32", model_file.TYPES[kind]}
    again = dict(model_file.restored(tmp_path / FILE, copy.deepcopy(model)).named_parameters())
    assert all(torch.equal(again[name], weight.float()) for name, weight in model.named_parameters())


@pytest.mark.parametrize("form", ["q8_0", "q4_0", "q4_k_m"])
def test_quantized_weights_read_back_are_what_llama_cpp_computes_with(form, tmp_path):
    model = shaped(made("llama"), PARTS["narrow"])
    LlamaCpp.convert(model, tokenizer(), tmp_path / "whole")
    LlamaCpp.quantize(tmp_path / "whole", tmp_path / form, form)
    engine = LlamaCpp.engine(tmp_path / form, threads=1, batch=1, tokens=len(IDS))
    theirs, dense = engine.logits(IDS.tolist()), in_torch(model)
    engine.close()
    ours = in_torch(LlamaCpp.restored(tmp_path / form, copy.deepcopy(model)))
    lost, left = np.abs(ours - dense).mean(), np.abs(ours - theirs).mean()
    assert left < 0.01 * np.abs(dense).max()  # it rounds activations to 8 bits inside its products, torch does not
    assert form == "q8_0" or left < 0.35 * lost  # with 4 bits most is lost in the weights, and that is read back


@pytest.mark.parametrize("parts", ["dense", "all of it"])
@pytest.mark.parametrize(
    ("family", "name"), [("llama", "yarn"), ("llama", "llama3"), ("llama", "linear"), ("qwen3", "yarn")]
)
def test_scaled_rotary_angles_have_the_same_logits(family, name, parts, tmp_path):
    rope = {"yarn": YARN, "llama3": LLAMA3, "linear": {"rope_type": "linear", "factor": 4.0, "rope_theta": 1e4}}[name]
    if parts != "dense" and family == "qwen3":
        parts = "narrow"
    model = made(family, rope_parameters=rope)
    shape = model if parts == "dense" else shaped(model, PARTS[parts])
    logits = in_llama_cpp(shape, tmp_path)
    assert close(logits, in_torch(shape))
    plain = made(family) if parts == "dense" else shaped(made(family), PARTS[parts])
    assert not close(logits, in_torch(plain))  # the scaling matters


def test_an_mlp_is_filled_up_to_whole_blocks_and_empty_layers_are_left_out():
    model = shaped(made("llama"), PARTS["all of it"])
    layout = model_file.of_model(model)
    assert layout.header["block_count"] == len([each for each in layer_shapes(model) if each.groups or each.width]) == 5
    assert all(width % 32 == 0 and width for width in layout.header["feed_forward_length"])
    assert layout.header["attention.head_count_kv"] == [4, 2, 4, 4, 2]  # heads of 8, of which 4 are a block of 32


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"sliding_window": 16, "family": "mistral"}, "the last 16 tokens only"),
        ({"rope_parameters": YARN | {"attention_factor": 1.5}}, "YaRN with attention_factor"),
        ({"rope_parameters": {"rope_type": "dynamic", "factor": 4.0, "rope_theta": 1e4}}, "scaled as dynamic"),
        ({"rope_parameters": LLAMA3, "family": "qwen2"}, "qwen2 takes no divisors"),
        ({"mlp_bias": True}, "gate and up projections with biases"),
    ],
)
def test_what_the_file_has_no_word_for_is_refused(change, word):
    family = change.pop("family", "llama")
    with pytest.raises(ValueError, match=word):
        model_file.of_model(made(family, **change))


def test_qwen3_without_a_layers_attention_is_refused():
    with pytest.raises(ValueError, match="no layer without attention"):
        model_file.of_model(shaped(made("qwen3"), PARTS["no attention"]))


def test_another_way_of_cutting_words_is_refused(tmp_path):
    backend = Tokenizer(models.BPE(vocab={"a": 0, "b": 1}, merges=[]))
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Whitespace(), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    backend.decoder = decoders.ByteLevel()
    with pytest.raises(ValueError, match="Whitespace"):
        model_file.write(made("llama"), PreTrainedTokenizerFast(tokenizer_object=backend), tmp_path / FILE)
