"""A GGUF file becomes the model that it holds, rotary scaling and tokenizer included, or is refused."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from gguf_files import MERGES, SPECIAL, TOKENS, llama, write
from transformers import AutoTokenizer

from harness.models import gguf_model
from harness.models.gguf_rope import llama3_factors
from harness.models.gguf_tokenizer import SAMPLE, SPLITS

LLAMA3 = {
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
FREQS = llama3_factors(8, 10000.0, **LLAMA3).astype(np.float32)
SCALED = {
    "none": ({}, {}, {}),
    "linear": (
        {"rope_type": "linear", "factor": 4.0},
        {"rope__scaling__type": "linear", "rope__scaling__factor": 4.0},
        {},
    ),
    "a factor without a type": ({"rope_type": "linear", "factor": 4.0}, {"rope__scaling__factor": 4.0}, {}),
    "yarn": (
        {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 128},
        {
            "rope__scaling__type": "yarn",
            "rope__scaling__factor": 4.0,
            "rope__scaling__original_context_length": 128,
        },
        {},
    ),
    "llama3": ({"rope_type": "llama3", **LLAMA3}, {}, {"rope_freqs.weight": FREQS}),
    "factors of one": ({}, {}, {"rope_freqs.weight": np.ones(8, dtype=np.float32)}),
}


@pytest.mark.parametrize("kind", SCALED)
def test_logits_are_those_of_the_model_that_was_written(kind, tmp_path):
    rope, keys, tensors = SCALED[kind]
    model = llama(**rope)
    read, _ = gguf_model.read(write(model, tmp_path / "it.gguf", tensors=tensors, **keys))
    ids = torch.randint(0, len(TOKENS), (1, 200), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.allclose(read(ids).logits, model(ids).logits, atol=1e-4)
        if rope:
            plain = llama()
            assert (plain(ids).logits - model(ids).logits).abs().max() > 0.1, "the scaling shows"
    read.save_pretrained(tmp_path / "saved")  # and it is kept
    again = type(read).from_pretrained(tmp_path / "saved")
    with torch.no_grad():
        assert torch.equal(again(ids).logits, read(ids).logits)


@pytest.mark.parametrize(
    ("keys", "tensors", "word"),
    [
        ({"rope__scaling__type": "longrope"}, {}, "longrope"),
        ({}, {"rope_freqs.weight": np.linspace(1, 3, 8, dtype=np.float32)}, "rope_freqs.weight"),
        ({}, {"rope_factors_long.weight": np.ones(8, dtype=np.float32)}, "rope_factors_long"),
        ({"logit_scale": 0.0625}, {}, "logit_scale"),
        ({"attention__sliding_window": 64}, {}, "sliding_window"),
        ({}, {"blk.0.attn_q.bias": np.ones(64, dtype=np.float32)}, "64 numbers more.*blk.0.attn_q.bias"),
        ({"rope__scaling__type": "yarn", "rope__scaling__yarn_log_multiplier": 0.1}, {}, "yarn_log_multiplier"),
    ],
)
def test_what_would_be_left_out_is_refused_by_name(keys, tensors, word, tmp_path):
    path = write(llama(), tmp_path / "it.gguf", tensors=tensors, **keys)
    with pytest.raises(ValueError, match=word):
        gguf_model.read(path)


class Without:
    """A model that lacks a tensor when it is written."""

    def __init__(self, model, name):
        self.config = model.config
        self.state_dict = lambda: {key: tensor for key, tensor in model.state_dict().items() if name not in key}


@pytest.mark.parametrize("name", ["layers.1.mlp.up_proj", "layers.1.", "model.norm"])
def test_a_file_that_lacks_a_tensor_is_refused_by_name(name, tmp_path):
    with pytest.raises(ValueError, match=f"missing .*{name}"):
        gguf_model.read(write(Without(llama(), name), tmp_path / "it.gguf"))


def test_a_head_of_its_own_stays_one(tmp_path):
    head = np.random.default_rng(0).normal(size=(len(TOKENS), 64)).astype(np.float32)
    read, _ = gguf_model.read(write(llama(), tmp_path / "it.gguf", tensors={"output.weight": head}))
    assert not read.config.tie_word_embeddings
    assert np.array_equal(read.lm_head.weight.detach().numpy(), head)


@pytest.fixture
def words(tmp_path):
    """The tokenizer of a GGUF file, saved and loaded as a checkpoint's is."""
    _, tokenizer = gguf_model.read(write(llama(), tmp_path / "it.gguf"))
    tokenizer.save_pretrained(tmp_path / "saved")
    return AutoTokenizer.from_pretrained(tmp_path / "saved")


def test_every_token_is_the_files_and_text_comes_back(words):
    assert words.convert_ids_to_tokens(list(range(len(TOKENS)))) == list(TOKENS)
    assert len(words) == len(TOKENS)
    assert words.decode(words(SAMPLE).input_ids) == SAMPLE
    assert words("Zürich the").tokens() == ["Z", "Ã¼", "r", "i", "c", "h", "Ġth", "e"]


def test_digits_are_cut_off_before_words_as_the_file_says(words):
    assert words("at\n\n12  3").tokens() == ["at", "ĊĊ", "1", "2", "ĠĠ", "3"]


def test_special_tokens_are_the_files(words):
    assert [words.unk_token_id, words.bos_token_id, words.eos_token_id, words.pad_token_id] == [0, 1, 2, 2]
    assert words("a<|im_end|>").input_ids[-1] == 2
    assert words("a").input_ids == [TOKENS.index("a")]  # add_bos_token is false


def test_a_byte_level_tokenizer_says_so(words):
    told = json.loads(words.backend_tokenizer.to_str())
    assert told["decoder"]["type"] == "ByteLevel"
    assert not told["model"]["byte_fallback"]
    assert len(told["model"]["merges"]) == len(MERGES)
    assert {each["content"] for each in told["added_tokens"]} == set(SPECIAL)


def test_an_unknown_way_to_cut_words_is_refused(tmp_path):
    with pytest.raises(ValueError, match="cuts words as 'tekken'"):
        gguf_model.read(write(llama(), tmp_path / "it.gguf", pre="tekken"))


@pytest.mark.parametrize("pre", SPLITS)
def test_every_known_way_to_cut_words_keeps_text_whole(pre, tmp_path):
    _, tokenizer = gguf_model.read(write(llama(), tmp_path / "it.gguf", pre=pre))
    assert tokenizer.decode(tokenizer(SAMPLE).input_ids) == SAMPLE
