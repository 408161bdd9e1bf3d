"""The super-network: views of one model's weights that behave as each sub-network, exactly.

They leave nothing behind.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from families import FAMILIES, SIZES

from harness.models.anatomy import ATTENTION, MLP
from harness.nas.architecture import Architecture, Block
from harness.nas.ranking import sort_parts
from harness.nas.space import Space
from harness.nas.spaces import SPACES, axes
from harness.nas.supernet import Elastic, body, extracted
from harness.pruning.importance import measure
from harness.recovery.adapters import add_lora, merge_lora

TOKENS = torch.arange(40).view(2, 20) + 3
VIEWS = [name for name in SPACES if name != "large"]  # its single channels are masked, not sliced
MIXED = Architecture(64, (Block(0, 96), Block(3, 40), Block(2, 0), Block(1, 8)))


def logits(model):
    with torch.no_grad():
        return model(TOKENS).logits


def members(model, name, count=6):
    space = Space(body(model, (3, 2, 4, 1)), axes(name))
    genomes = np.concatenate([space.seeds(), space.sample(count, np.random.default_rng(0))])
    return [space.decode(genome) for genome in genomes]


@pytest.mark.parametrize("name", VIEWS)
def test_a_sliced_forward_equals_the_extracted_copy_to_the_bit(tiny, name):
    model, _ = tiny
    for architecture in members(model, name):
        with Elastic(model) as elastic:
            elastic.activate(architecture)
            sliced = logits(model)
        assert torch.equal(sliced, logits(extracted(model, architecture)))


@pytest.mark.parametrize("hidden", [64, 48])
@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("family", list(FAMILIES))
def test_every_family_is_sliced_to_the_bit(family, tied, hidden):
    causal, config = FAMILIES[family]
    torch.manual_seed(0)
    model = causal(config(**SIZES, tie_word_embeddings=tied)).eval()
    architecture = MIXED._replace(hidden=hidden)
    with Elastic(model) as elastic:
        elastic.activate(architecture)
        sliced = logits(model)
    assert torch.equal(sliced, logits(extracted(model, architecture)))


def test_single_heads_and_channels_are_left_out_up_to_the_order_of_sums(tiny):
    model, _ = tiny
    for architecture in members(model, "large"):
        with Elastic(model) as elastic:
            elastic.activate(architecture)
            masked = logits(model)
        assert torch.allclose(masked, logits(extracted(model, architecture)), atol=1e-4)


def test_everything_is_put_back_even_after_an_error(tiny):
    model, _ = tiny
    before, stack = logits(model), model.get_decoder().layers
    chosen = [members(model, name)[-1] for name in SPACES]
    with pytest.raises(KeyError), Elastic(model) as elastic:
        for one in chosen:
            elastic.activate(one)
        raise KeyError
    assert torch.equal(before, logits(model))
    assert model.get_decoder().layers is stack
    assert model.config.num_hidden_layers == 6
    assert [layer.self_attn.layer_idx for layer in stack] == list(range(6))
    assert not [name for name, module in model.named_modules() if "forward" in vars(module)]


def test_the_order_of_activations_changes_nothing(tiny):
    model, _ = tiny
    chosen = [one for name in SPACES for one in members(model, name, 2)]
    with Elastic(model) as elastic:
        first = []
        for one in chosen:
            elastic.activate(one)
            first.append(logits(model))
        for one, seen in reversed(list(zip(chosen, first, strict=True))):
            elastic.activate(one)
            assert torch.equal(logits(model), seen)


@pytest.mark.parametrize("name", list(SPACES))
def test_a_sub_network_generates_with_its_cache_as_without(tiny, name):
    model, _ = tiny
    mask, chosen = torch.ones_like(TOKENS), members(model, name)[-2]
    with Elastic(model) as elastic:
        elastic.activate(chosen)
        made = [
            model.generate(TOKENS, attention_mask=mask, max_new_tokens=5, do_sample=False, use_cache=use)
            for use in (True, False)
        ]
    assert torch.equal(*made)


def test_weights_are_viewed_never_copied(tiny):
    model, _ = tiny
    kept = {name: weight.data_ptr() for name, weight in model.named_parameters()}
    chosen = members(model, "joint")
    with Elastic(model) as elastic:
        for one in chosen:
            elastic.activate(one)
            linear = model.get_decoder().layers[0].self_attn.q_proj.forward
            assert linear.base.weight[: linear.rows, : linear.columns].data_ptr() == linear.base.weight.data_ptr()
    assert kept == {name: weight.data_ptr() for name, weight in model.named_parameters()}


@pytest.mark.parametrize("stream", [True, False])
def test_sorting_parts_changes_the_function_only_by_rounding(tiny, stream):
    model, _ = tiny
    before = logits(model)
    sort_parts(model, measure(model, TOKENS), stream=stream)
    assert torch.allclose(before, logits(model), atol=1e-4)  # the order of float32 sums
    again = measure(model, TOKENS)
    ranked = [*again.channels, *again.groups, *([again.stream] if stream else [])]
    assert all((score[:-1] >= score[1:] * (1 - 1e-4) - 1e-4).all() for score in ranked)


def test_lora_factors_are_sliced_like_the_weights(tiny):
    """A sub-network of a model with LoRA equals that sub-network of the merged model.

    It trains only its own part.
    """
    model, _ = tiny
    weights = add_lora(model, rank=4, alpha=8, targets=[*ATTENTION, *MLP], seed=0)
    with torch.no_grad():
        for weight in weights.values():
            weight.copy_(torch.randn(weight.shape, generator=torch.Generator().manual_seed(weight.numel())) * 0.1)
    for weight in weights.values():
        weight.requires_grad_(True)
    architecture = Architecture(
        64, (Block(4, 40), Block(1, 80), Block(0, 160), Block(2, 0), Block(4, 160), Block(3, 24))
    )
    with Elastic(model) as elastic:
        elastic.activate(architecture)
        adapted = logits(model)
        model(TOKENS).logits.sum().backward()
    width = dict(model.named_modules())["model.layers.0.mlp.gate_proj"].lora_B["default"].weight.grad
    assert (width[:40] != 0).any()
    assert (width[40:] == 0).all()
    merge_lora(model)
    with Elastic(model) as elastic:
        elastic.activate(architecture)
        merged = logits(model)
    assert torch.allclose(adapted, merged, atol=1e-4)  # (W + sBA)x against Wx + sB(Ax)
