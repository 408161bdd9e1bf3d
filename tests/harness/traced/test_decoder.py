"""The plain decoder computes what transformers computes: families, shapes, steps and batches."""

import pytest
import torch
from absent_parts import PARTS, shaped
from sliced_models import MIXED, reduced, uneven
from structured_models import compressed, made

from harness.models import checkpoint
from harness.models.per_layer import add_output_biases
from harness.traced.decoder import PlainDecoder

IDS = torch.randint(2, 258, (2, 40), generator=torch.Generator().manual_seed(5))


def read(decoder, ids, past=(), mask=None):
    """Return logits and all keys and values of texts behind a past."""
    before = past[0].shape[2] if past else 0
    past = past or [torch.zeros(len(ids), groups, 0, size) for groups, size in decoder.caches]
    everything = before + ids.shape[1]
    mask = torch.ones(len(ids), everything, dtype=torch.long) if mask is None else mask
    positions = torch.arange(before, everything).expand(len(ids), -1)
    with torch.no_grad():
        logits, *caches = decoder(ids, mask, positions, *past)
    return logits, caches


def expected(model, ids=IDS):
    with torch.no_grad():
        return model(ids).logits.float()


def same(one, other):
    torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4 * other.abs().max().item())


@pytest.mark.parametrize("family", ["llama", "mistral", "qwen2", "qwen3", "smollm3"])
def test_a_dense_model_of_each_family_has_the_same_logits(family):
    model = made(family)
    same(read(PlainDecoder(model), IDS)[0], expected(model))


@pytest.mark.parametrize("parts", PARTS.values(), ids=PARTS)
def test_layers_of_widths_of_their_own_have_the_same_logits(parts):
    model = shaped(made(), parts)
    same(read(PlainDecoder(model, step=32), IDS)[0], expected(model))


def test_biases_have_the_same_logits():
    model = made()
    add_output_biases(model)
    for name, weight in model.named_parameters():
        if name.endswith("bias"):
            torch.nn.init.normal_(weight)
    same(read(PlainDecoder(model, step=64), IDS)[0], expected(model))


def test_streams_of_slicegpt_have_the_same_logits():
    model = compressed(reduced(MIXED), uneven(made(tied=False)))
    same(read(PlainDecoder(model), IDS)[0], expected(model))


@pytest.mark.parametrize("family", ["mistral", "qwen3"])
def test_layers_that_attend_to_a_window_have_the_same_logits(family):
    model = made(
        family,
        sliding_window=8,
        **({} if family == "mistral" else {"use_sliding_window": True, "max_window_layers": 3}),
    )
    logits = read(PlainDecoder(model), IDS)[0]
    same(logits, expected(model))
    model.config.sliding_window = 10_000
    assert not torch.allclose(logits, read(PlainDecoder(model), IDS)[0], atol=1e-3)  # the window matters


@pytest.mark.parametrize(
    "scaling",
    [
        {"rope_type": "linear", "factor": 4.0},
        {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32},
        {
            "rope_type": "llama3",
            "factor": 8.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 32,
        },
    ],
    ids=lambda value: value["rope_type"],
)
def test_scaled_rotary_angles_have_the_same_logits(scaling):
    model = made(rope_parameters={"rope_theta": 10000.0, **scaling})
    same(read(PlainDecoder(model), IDS)[0], expected(model))


def test_text_read_in_steps_has_the_logits_of_text_read_at_once():
    model = shaped(made(), PARTS["all of it"])
    decoder = PlainDecoder(model)
    first, caches = read(decoder, IDS[:, :17])
    second, caches = read(decoder, IDS[:, 17:18], caches)
    third, _ = read(decoder, IDS[:, 18:], caches)
    same(torch.cat([first, second, third], dim=1), expected(model))


def test_a_shorter_text_filled_up_at_its_left_has_its_own_logits():
    model = made()
    mask = torch.ones_like(IDS)
    mask[1, :9] = 0
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    decoder = PlainDecoder(model)
    past = [torch.zeros(2, groups, 0, size) for groups, size in decoder.caches]
    with torch.no_grad():
        logits = decoder(IDS, mask, positions, *past)[0]
    same(logits[1:, 9:], expected(model, IDS[1:, 9:]))


def test_weights_in_sixteen_bits_are_shared_and_computed_with_in_thirty_two():
    model = made().to(torch.bfloat16)
    decoder = PlainDecoder(model)
    assert decoder.layers[0].q_proj.weight is model.model.layers[0].self_attn.q_proj.weight
    logits = read(decoder, IDS)[0]
    same(logits, expected(made().to(torch.bfloat16).float()))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"hidden_act": "gelu"}, "no activation gelu"),
        ({"model_type": "granite"}, "granite models have no plain decoder"),
        ({"rope_parameters": {"rope_type": "dynamic", "factor": 2.0}}, "change with the length of a text"),
    ],
    ids=["activation", "family", "angles"],
)
def test_a_model_that_is_computed_otherwise_is_refused(change, words):
    model = made()
    for name, value in change.items():
        setattr(model.config, name, value) if name != "model_type" else setattr(type(model.config), name, value)
    try:
        with pytest.raises(ValueError, match=words):
            PlainDecoder(model)
    finally:
        type(model.config).model_type = "llama"


def test_a_stored_model_has_the_same_logits(tiny_folder):
    model = checkpoint.load(tiny_folder)
    same(read(PlainDecoder(model), IDS)[0], expected(model))
