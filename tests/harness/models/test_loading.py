"""A model is what its files hold.

Weights that do not fit are refused by name, never replaced or passed over.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForCausalLM

from harness import config
from harness.models import checkpoint
from harness.models.source import Import, ModelSource, check
from harness.outside.run_command import load_result
from harness.quantizers.int8 import Int8
from harness.quantizers.w8a8 import W8A8
from harness.spec import Work

UP = "model.layers.0.mlp.up_proj.weight"
EMBEDDINGS = "model.embed_tokens.weight"


def without(*names):
    return lambda state: {name: tensor for name, tensor in state.items() if name not in names}


def prefixed(state):
    return {f"_orig_mod.{name}": tensor for name, tensor in state.items()}


def more(**tensors):
    return lambda state: {**state, **tensors}


def changed(folder: Path, change=dict, **settings) -> Path:
    """Rewrite the folder's weights as `change` makes them, and settings of its configuration."""
    state = change(load_file(folder / "model.safetensors"))
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    content = json.loads((folder / "config.json").read_text()) | settings
    (folder / "config.json").write_text(json.dumps(content))
    return folder


MISFITS = {
    "a tensor is missing": (without(UP), {}, UP),
    "a prefix": (prefixed, {}, "prefix _orig_mod."),
    "no head where it is not tied": (dict, {"tie_word_embeddings": False}, "lm_head.weight"),
    "fewer layers than in the file": (dict, {"num_hidden_layers": 4}, "does not know .model.layers.4"),
    "more layers than in the file": (dict, {"num_hidden_layers": 8}, "missing .model.layers.6"),
    "another width": (dict, {"intermediate_size": 128}, r"\(160, 64\) instead of \(128, 64\)"),
    "a tensor of another model": (more(**{"model.extra.weight": torch.zeros(3)}), {}, "model.extra.weight"),
    "another head where it is tied": (
        lambda state: {**state, "lm_head.weight": state[EMBEDDINGS] * 2},
        {},
        "lm_head.weight.*tie_word_embeddings: false",
    ),
}


@pytest.mark.parametrize("load", ["checkpoint", "import", "external", "int8"])
@pytest.mark.parametrize("name", MISFITS)
def test_weights_that_do_not_fit_are_refused_by_name_wherever_they_are_loaded(name, load, tiny_folder, tmp_path):
    change, settings, words = MISFITS[name]
    folder = changed(tiny_folder, change, **settings)
    loaders = {
        "checkpoint": lambda: checkpoint.load(folder),
        "import": lambda: imported(folder, tmp_path),
        "external": lambda: load_result(folder, "theirs"),
        "int8": lambda: Int8().apply(folder, tmp_path / "int8"),
    }
    with pytest.raises(ValueError, match=words):
        loaders[load]()


def imported(folder: Path, tmp_path: Path, dtype: str = "float32") -> dict:
    draft = tmp_path / "draft"
    draft.mkdir()
    work = Work(draft, draft, None, "0" * 40, (), (), "cpu")
    Import(source=ModelSource(kind="folder", content="", place=str(folder)), dtype=dtype).run(work)
    return work.result


def test_a_head_that_equals_the_embeddings_is_tied_and_counted_once(tiny, tiny_folder, tmp_path):
    changed(tiny_folder, lambda state: {**state, "lm_head.weight": state[EMBEDDINGS].clone()})
    model = checkpoint.load(tiny_folder)
    assert model.lm_head.weight is model.model.embed_tokens.weight
    count = sum(weight.numel() for weight in tiny[0].parameters())
    assert imported(tiny_folder, tmp_path)["parameters"] == count


def test_what_fits_is_loaded_to_the_bit_old_rotary_buffers_aside(tiny, tiny_folder):
    changed(tiny_folder, more(**{"model.layers.0.self_attn.rotary_emb.inv_freq": torch.ones(4)}))
    state = checkpoint.load(tiny_folder).state_dict()
    assert all(torch.equal(tensor, state[name]) for name, tensor in tiny[0].state_dict().items())


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_weight_that_is_not_finite_is_refused_by_its_import(value, tiny_folder, tmp_path):
    def spoilt(state):
        state[UP][3, 4] = value
        return state

    with pytest.raises(ValueError, match=f"{UP} holds 1 of 10,240"):
        imported(changed(tiny_folder, spoilt), tmp_path)


def test_a_weight_that_overflows_in_the_runs_dtype_is_refused(tiny_folder, tmp_path):
    def large(state):
        state[UP][0, 0] = 1e6
        return state

    with pytest.raises(ValueError, match=f"in float16: {UP}"):
        imported(changed(tiny_folder, large), tmp_path, "float16")


def test_a_tokenizer_with_more_tokens_than_embeddings_is_refused_naming_them(tiny, tiny_folder, tmp_path):
    tokenizer = tiny[1]
    tokenizer.add_tokens(["<more>"])
    tokenizer.save_pretrained(tiny_folder)
    with pytest.raises(ValueError, match=r"1 token beyond the 258 rows.*'<more>' 258.*resize_token_embeddings\(259\)"):
        imported(tiny_folder, tmp_path)


def lone_pickle(folder):
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def lost_shard(folder):
    (folder / "model.safetensors").unlink()
    index = {"weight_map": {UP: "model-00001-of-00001.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def cut_off(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def quantized(folder):
    changed(folder, quantization_config={"quant_method": "bitsandbytes", "load_in_4bit": True})


REFUSED = {
    "an adapter": (lambda folder: (folder / "adapter_config.json").write_text("{}"), "peft adapter.*merge_and_unload"),
    "pickles alone": (lone_pickle, "pytorch_model.bin.*not loaded"),
    "another name": (
        lambda folder: (folder / "model.safetensors").rename(folder / "weights.safetensors"),
        "weights.safetensors is not what",
    ),
    "a shard that is not there": (lost_shard, "files that are not there: model-00001-of-00001"),
    "a file that is cut off": (cut_off, "model.safetensors is no whole file of weights"),
    "quantized already": (quantized, "quantized already .bitsandbytes"),
    "weights of another name, which no key would hold": (
        lambda folder: changed(folder, transformers_weights="other.safetensors"),
        "read from other.safetensors, not from model.safetensors",
    ),
    "passes that return tuples": (
        lambda folder: changed(folder, return_dict=False),
        "what a pass returns .return_dict.*true",
    ),
    "passes that keep every layer": (
        lambda folder: changed(folder, output_hidden_states=True),
        "output_hidden_states.*false",
    ),
    "no tokenizer": (lambda folder: (folder / "tokenizer.json").unlink(), "no tokenizer"),
    "no configuration": (lambda folder: (folder / "config.json").unlink(), "no config.json"),
    "a configuration that is no JSON": (
        lambda folder: (folder / "config.json").write_text("{"),
        "config.json: not JSON",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_files_tell_is_refused_before_any_work(name, tiny_folder):
    change, words = REFUSED[name]
    change(tiny_folder)
    with pytest.raises(ValueError, match=words):
        check(str(tiny_folder))
    with pytest.raises(config.ConfigErrors, match=words):
        config.compose([f"model={tiny_folder}"])


@pytest.mark.parametrize("name", ["an adapter", "pickles alone"])
def test_what_an_outside_command_leaves_is_held_to_the_same(name, tiny_folder):
    change, words = REFUSED[name]
    change(tiny_folder)
    with pytest.raises(ValueError, match=f"^what theirs left: .*{words}"):
        load_result(tiny_folder, "theirs")


def test_a_tokenizer_without_an_end_is_refused(tiny, tiny_folder, tmp_path):
    tiny[1].eos_token = None
    tiny[1].save_pretrained(tiny_folder)
    with pytest.raises(ValueError, match="names no eos_token"):
        imported(tiny_folder, tmp_path)


def test_of_a_folder_with_both_the_safetensors_are_loaded(tiny, tiny_folder):
    (tiny_folder / "pytorch_model.bin").write_bytes(b"not a pickle")
    check(str(tiny_folder))
    loaded = checkpoint.load(tiny_folder).state_dict()
    assert all(torch.equal(tensor, loaded[name]) for name, tensor in tiny[0].state_dict().items())


GPT2 = {
    "vocab_size": 258,
    "n_embd": 32,
    "n_layer": 3,
    "n_head": 4,
    "n_positions": 128,
    "bos_token_id": 0,
    "eos_token_id": 1,
}


def test_any_causal_model_comes_in_with_its_facts(tiny, tmp_path):
    folder = other_family(tiny, tmp_path)
    actual = imported(folder, tmp_path)
    assert actual["layers"] == 3
    assert actual["family"] == "gpt2"
    assert actual["parameters"] == sum(weight.numel() for weight in checkpoint.load(folder).parameters())


@pytest.mark.parametrize("kind", [Int8, W8A8], ids=lambda kind: kind.NAME)
def test_a_quantizer_that_finds_nothing_to_quantize_makes_no_row(kind, tiny, tmp_path):
    with pytest.raises(ValueError, match=f"{kind.NAME} finds no linear to quantize in a gpt2"):
        kind().apply(other_family(tiny, tmp_path), tmp_path / "quantized")


def other_family(tiny, tmp_path: Path) -> Path:
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model("gpt2", **GPT2))
    folder = tmp_path / "gpt2"
    folder.mkdir()
    tiny[1].save_pretrained(folder)
    checkpoint.save(model, folder, folder)
    return folder
