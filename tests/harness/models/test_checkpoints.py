"""Checkpoints reload bit-exact through AutoModelForCausalLM, for every family.

That includes checkpoints with per-layer widths.
"""

from __future__ import annotations

import pytest
import torch
from families import FAMILIES, SIZES

from harness.models import checkpoint
from harness.models.anatomy import layer_shapes, outside_parameters, parameter_count
from harness.pruning.extraction import Keep, extract, whole
from harness.quantizers.int8 import Int8

MIXED = [
    Keep(0),
    Keep(1, torch.tensor([0, 2, 3]), torch.arange(50)),
    Keep(3, torch.tensor([1]), torch.tensor([4, 9, 90])),
]


NONE = torch.tensor([], dtype=torch.long)
SPARSE = [Keep(0, groups=NONE), Keep(1, channels=NONE), Keep(2, torch.tensor([1])), Keep(3, NONE, torch.arange(9))]


@pytest.fixture(params=[MIXED, SPARSE], ids=["widths", "absent parts"])
def keeps(request):
    return request.param


@pytest.fixture(
    params=[(family, tied) for family in FAMILIES for tied in (True, False)],
    ids=lambda value: f"{value[0]}-{'tied' if value[1] else 'untied'}",
)
def model(request):
    family, tied = request.param
    causal, config = FAMILIES[family]
    torch.manual_seed(0)
    return causal(config(**SIZES, tie_word_embeddings=tied)).eval()


@pytest.fixture
def tokens():
    return torch.arange(24).view(2, 12) + 5


def logits(model, tokens):
    with torch.no_grad():
        return model(input_ids=tokens).logits


@pytest.mark.parametrize("hidden", [None, 48])
def test_per_layer_widths_reload_bit_exact(model, tokens, tmp_path, tiny_folder, keeps, hidden):
    smaller = extract(model, keeps, hidden)
    checkpoint.save(smaller, tmp_path / "saved", tiny_folder)
    again = checkpoint.load(tmp_path / "saved")
    assert torch.equal(logits(smaller, tokens), logits(again, tokens))
    actual = [(shape.groups, shape.width) for shape in layer_shapes(again)]
    assert actual == ([(4, 96), (3, 50), (1, 3)] if keeps is MIXED else [(0, 96), (4, 0), (1, 96), (0, 9)])
    assert again.config.hidden_size == (hidden or 64)
    assert again.config.kept_layers == [keep.layer for keep in keeps]


SCALINGS = {
    "linear": {"factor": 4.0},
    "dynamic": {"factor": 4.0},
    "yarn": {"factor": 8.0, "original_max_position_embeddings": 32},
    "llama3": {
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 32,
    },
}


@pytest.mark.parametrize("kind", SCALINGS)
def test_rotary_scaling_survives_pruning_of_heads_and_reloading(kind, tokens, tmp_path, tiny_folder):
    causal, config = FAMILIES["llama"]
    torch.manual_seed(0)
    rope = {"rope_theta": 10000.0, "rope_type": kind, **SCALINGS[kind]}
    model = causal(config(**SIZES, rope_parameters=rope)).eval()
    assert torch.equal(logits(extract(model, whole(model)), tokens), logits(model, tokens))
    smaller = extract(model, MIXED)
    checkpoint.save(smaller, tmp_path / "saved", tiny_folder)
    assert torch.equal(logits(checkpoint.load(tmp_path / "saved"), tokens), logits(smaller, tokens))


def test_keeping_everything_changes_no_output(model, tokens):
    assert torch.equal(logits(model, tokens), logits(extract(model, whole(model)), tokens))


def test_depth_only_results_stay_of_the_models_own_class(model):
    shorter = extract(model, [Keep(0), Keep(2)])
    assert type(shorter) is type(model)
    assert [layer.self_attn.layer_idx for layer in shorter.get_decoder().layers] == [0, 1]


def test_a_layer_without_attention_and_mlp_is_a_layer_less(model, tokens):
    emptied = extract(model, [Keep(0), Keep(1, NONE, NONE), Keep(2), Keep(3)])
    assert torch.equal(logits(emptied, tokens), logits(extract(model, [Keep(0), Keep(2), Keep(3)]), tokens))


def test_layers_are_named_after_the_first_models(model):
    once = extract(model, [Keep(0), Keep(2), Keep(3)])
    assert extract(once, [Keep(0), Keep(2)]).config.kept_layers == [0, 3]


def test_cached_generation_equals_uncached(model, tokens, keeps):
    smaller = extract(model, keeps)
    mask = torch.ones_like(tokens)
    made = [
        smaller.generate(tokens, attention_mask=mask, max_new_tokens=6, do_sample=False, use_cache=use)
        for use in (True, False)
    ]
    assert torch.equal(*made)


def test_reading_on_from_the_cache_equals_reading_at_once(model, tokens, keeps):
    """The cache asks its first entry how long it is: layers without attention must not take one."""
    smaller = extract(model, keeps)
    with torch.no_grad():
        begun = smaller(input_ids=tokens[:, :8], use_cache=True)
        ended = smaller(input_ids=tokens[:, 8:], past_key_values=begun.past_key_values, use_cache=True).logits
    assert torch.allclose(ended, logits(smaller, tokens)[:, 8:], atol=1e-5)  # the order of float32 sums


def test_parameter_counts_follow_from_shapes_alone(model, keeps):
    smaller = extract(model, keeps)
    expected = outside_parameters(smaller) + sum(shape.parameters for shape in layer_shapes(smaller))
    assert parameter_count(smaller) == expected
    before = layer_shapes(model)[1]
    after = layer_shapes(extract(model, MIXED))[1]
    assert before.parameters - after.parameters == before.group_parameters + 46 * before.channel_parameters


def test_extraction_removes_what_zeroing_silences(model, tokens):
    """A channel whose column of down is zero contributes nothing.

    So leaving it out changes nothing but rounding.
    """
    gone = torch.tensor([3, 17])
    with torch.no_grad():
        model.get_decoder().layers[2].mlp.down_proj.weight[:, gone] = 0
    kept = torch.tensor([index for index in range(96) if index not in gone])
    smaller = extract(model, [Keep(0), Keep(1), Keep(2, channels=kept), Keep(3)])
    assert torch.allclose(logits(model, tokens), logits(smaller, tokens), atol=1e-5)  # order of float32 sums


def test_int8_reloads_bit_exact_and_is_smaller(model, tokens, tmp_path, tiny_folder, keeps):
    checkpoint.save(extract(model.to(torch.bfloat16), keeps), tmp_path / "saved", tiny_folder)
    quantized = Int8().apply(tmp_path / "saved", tmp_path / "int8")
    again = checkpoint.load(tmp_path / "int8")
    assert torch.equal(logits(quantized, tokens), logits(again, tokens))
    assert checkpoint.size_on_disk(tmp_path / "int8") < checkpoint.size_on_disk(tmp_path / "saved")


def test_the_saved_folder_describes_itself(model, tmp_path, tiny_folder):
    checkpoint.save(extract(model, MIXED), tmp_path / "saved", tiny_folder)
    assert (tmp_path / "saved" / "per_layer.py").is_file()
    assert checkpoint.family(tmp_path / "saved") == model.config.model_type
    assert (
        checkpoint.load_tokenizer(tmp_path / "saved")("abc").input_ids
        == checkpoint.load_tokenizer(tiny_folder)("abc").input_ids
    )


@pytest.mark.parametrize("name", ["spiece.model", "vocab.txt", "sentencepiece.bpe.model"])
def test_a_tokenizer_goes_with_the_smaller_model_whatever_its_file_is_called(tmp_path, tiny_folder, name):
    (tiny_folder / name).write_bytes(b"pieces")
    (tmp_path / "smaller").mkdir()
    checkpoint.copy_tokenizer(tiny_folder, tmp_path / "smaller")
    written = {path.name for path in (tmp_path / "smaller").iterdir()}
    assert {name, "tokenizer.json", "tokenizer_config.json"} <= written
    assert not written & {"config.json", "generation_config.json", "model.safetensors"}
