"""What may be done with a sliced model: generate, reload, train on, quantize.

And what may not follow it.
"""

from __future__ import annotations

import copy
from types import SimpleNamespace

import pytest
import torch
from huggingface_hub.errors import StrictDataclassError
from sliced_models import BIASED, DTYPES, MIXED, reduced, uneven
from structured_models import SHAPE, TOKENS, compressed, every_model, logits, made

from baselines.shortgpt import ShortGPT
from baselines.slicegpt import SliceGPT
from baselines.wanda import Wanda
from baselines.wanda_sp import WandaSp
from harness import config, graph
from harness.compress import Compress
from harness.models import checkpoint
from harness.models.anatomy import layers, parameter_count
from harness.models.sliced import SlicedLlamaConfig, SlicedLlamaForCausalLM, causal_class
from harness.models.zeros import zero_masks
from harness.pruning.budget import TOLERANCE
from harness.quantizers.int8 import Int8
from harness.recovery.recover_step import Recover
from harness.spec import DataSource


@every_model
def model(request):
    return uneven(made(*request.param))


@pytest.fixture(params=BIASED, ids=lambda value: f"{value[0]}-biases")
def biased(request):
    return uneven(made(request.param[0], **request.param[1]))


@pytest.fixture(scope="module")
def sliced():
    return compressed(SliceGPT(budget=0.75), uneven(made()))


def generated(model, tokens, use):
    mask = (tokens != 1).long()
    return model.generate(tokens, attention_mask=mask, max_new_tokens=8, do_sample=False, use_cache=use)


def test_cached_generation_equals_uncached(model):
    smaller = compressed(reduced(MIXED), model)
    padded = torch.cat([torch.ones(2, 3, dtype=torch.long), TOKENS[:2, :8]], dim=1)
    assert torch.equal(generated(smaller, padded, True), generated(smaller, padded, False))
    with torch.no_grad():
        begun = smaller(input_ids=TOKENS[:, :8], use_cache=True)
        ended = smaller(input_ids=TOKENS[:, 8:], past_key_values=begun.past_key_values, use_cache=True).logits
    assert torch.allclose(ended, logits(smaller)[:, 8:], atol=1e-5)  # the order of float32 sums


def test_both_kinds_of_attention_agree(model):
    smaller = compressed(reduced(MIXED), model)
    actual = logits(smaller)
    smaller.set_attn_implementation("eager")
    assert torch.allclose(logits(smaller), actual, atol=1e-5)  # the order of float32 sums
    model.set_attn_implementation("eager")
    again = compressed(reduced(MIXED), model)
    assert again.config._attn_implementation == "eager"
    assert torch.allclose(logits(again), actual, atol=1e-3)  # bases from inputs that are rounded otherwise


def test_every_stream_has_its_size(sliced):
    with torch.no_grad():
        states = sliced(TOKENS, output_hidden_states=True).hidden_states
    assert [state.shape[-1] for state in states] == sliced.config.stream_sizes[::2]


def test_gradient_checkpointing_gives_the_same_gradients(sliced):
    gradients = []
    for checkpointed in (False, True):
        model = copy.deepcopy(sliced).train()
        if checkpointed:
            model.gradient_checkpointing_enable()
        model(TOKENS, labels=TOKENS, use_cache=False).loss.backward()
        gradients.append({name: weight.grad for name, weight in model.named_parameters()})
    assert all(torch.equal(gradients[0][name], gradients[1][name]) for name in gradients[0])
    assert gradients[0]["model.layers.2.attention_shortcut.weight"].abs().max() > 0


@pytest.mark.parametrize("dtype", DTYPES)
def test_saved_folders_reload_bit_exactly(model, dtype, tmp_path, tiny_folder):
    for weight in model.parameters():
        weight.data = weight.data.to(dtype)  # not the buffers, which no checkpoint holds
    smaller = compressed(reduced(MIXED), model)
    checkpoint.save(smaller, tmp_path / "saved", tiny_folder)
    again = checkpoint.load(tmp_path / "saved")
    assert type(again) is type(smaller) is causal_class(model.config.model_type)
    assert torch.equal(logits(smaller), logits(again))
    assert all(torch.equal(*pair) for pair in zip(smaller.parameters(), again.parameters(), strict=True))
    assert again.config.stream_sizes == MIXED
    assert again.dtype == dtype
    assert again.model.layers[1].input_layernorm.variance_epsilon == model.config.rms_norm_eps * 64 / 48


def test_biases_reload_too(biased, tmp_path, tiny_folder):
    smaller = compressed(SliceGPT(budget=0.8), biased)
    checkpoint.save(smaller, tmp_path / "saved", tiny_folder)
    assert torch.equal(logits(smaller), logits(checkpoint.load(tmp_path / "saved")))


def test_configurations_that_cannot_be_built_are_refused():
    for fields, message in (
        ({"stream_sizes": [64] * 4}, "2 layers need 5 sizes"),
        ({"stream_sizes": [64, 64, 64, 64, 48]}, "the last 64"),
        ({"stream_sizes": [64, 64, 65, 64, 64]}, "sizes of 1 to 64"),
        ({"tie_word_embeddings": True}, "cannot be tied"),
    ):
        with pytest.raises(StrictDataclassError, match=message):
            SlicedLlamaConfig(**{**SHAPE, "num_hidden_layers": 2}, **fields)
    assert SlicedLlamaConfig(**{**SHAPE, "num_hidden_layers": 2}).stream_sizes == [64] * 5


def test_a_method_after_slicing_is_refused_by_name(sliced, tmp_path, tiny_folder):
    checkpoint.save(sliced, tmp_path / "saved", tiny_folder)
    assert checkpoint.family(tmp_path / "saved") == "sliced_llama"
    work = SimpleNamespace(checkpoint=lambda: tmp_path / "saved", device="cpu")
    for method in (WandaSp(budget=0.5), SliceGPT(budget=0.5)):
        with pytest.raises(ValueError, match=rf"{method.NAME} takes llama, .*not sliced_llama"):
            Compress(method=method).run(work)


def test_slicing_comes_first_in_a_recipe(tmp_path):
    wanted = ["model=random-llama", "suite=demo", "budgets=[0.8]", f"store={tmp_path}"]
    with pytest.raises(ValueError, match="slicegpt starts from the dense model and cannot follow"):
        graph.build(config.compose([*wanted, "methods=['wanda(sparsity=0.5)+slicegpt']"]))
    assert graph.build(config.compose([*wanted, "methods=['slicegpt+recover']"])).variants


def test_a_folder_of_fewer_layers_is_sliced_but_neither_widths_nor_zeros():
    model = made()
    shorter = compressed(ShortGPT(budget=0.7, exact=False), model)
    both = compressed(SliceGPT(budget=0.8), shorter)
    assert isinstance(both, SlicedLlamaForCausalLM)
    assert both.config.kept_layers == shorter.config.kept_layers
    assert abs(parameter_count(both) / parameter_count(shorter) - 0.8) <= TOLERANCE
    with pytest.raises(ValueError, match="all alike .*not per_layer_llama"):
        compressed(SliceGPT(budget=0.8), compressed(WandaSp(budget=0.7), model))
    with pytest.raises(ValueError, match="zeros of a sparse model"):
        compressed(SliceGPT(budget=0.8), compressed(Wanda(sparsity=0.5), model))


@pytest.mark.parametrize("adapter", ["full", "lora"])
def test_recovery_trains_a_sliced_model_towards_the_dense_one(sliced, adapter, tmp_path):
    model, rows = copy.deepcopy(sliced), torch.stack([TOKENS, TOKENS], dim=1)  # ids and labels
    assert not zero_masks(layers(model))
    before = copy.deepcopy(model.state_dict())
    step = Recover(
        training=DataSource(name="none"),
        tokens=30 * 4 * 32,
        batch=4,
        length=32,
        learning_rate=3e-3,
        adapter=adapter,
        distill=0.5,
    )
    curve = step.train(model, rows, uneven(made()), SimpleNamespace(scratch=tmp_path))
    assert curve[-1][2] < 0.95 * curve[0][2]
    changed = {name for name, weight in model.state_dict().items() if not torch.equal(weight, before[name])}
    assert model.state_dict().keys() == before.keys()
    assert ("model.layers.0.mlp_shortcut.weight" in changed) == (adapter == "full")
    assert ("model.layers.0.input_layernorm.weight" in changed) == (adapter == "full")
    assert "model.layers.5.self_attn.q_proj.weight" in changed


def test_int8_goes_on_top_and_reloads_bit_exactly(model, tmp_path, tiny_folder):
    checkpoint.save(compressed(SliceGPT(budget=0.8), model.to(torch.bfloat16)), tmp_path / "saved", tiny_folder)
    quantized = Int8().apply(tmp_path / "saved", tmp_path / "int8")
    assert torch.equal(logits(quantized), logits(checkpoint.load(tmp_path / "int8")))
    assert checkpoint.size_on_disk(tmp_path / "int8") < 0.9 * checkpoint.size_on_disk(tmp_path / "saved")
