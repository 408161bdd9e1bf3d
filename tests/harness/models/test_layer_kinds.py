"""What is a layer's own stays with it, whatever layers go and wherever layers are run.

A layer's own are full or sliding attention, and its mask.
"""

from __future__ import annotations

import contextlib
from functools import partial

import pytest
import torch
from families import FAMILIES, SIZES

from harness.models import checkpoint
from harness.models.anatomy import layers
from harness.models.per_layer import cache_slots
from harness.nas.architecture import Architecture, Block
from harness.nas.supernet import Elastic, extracted
from harness.pruning.extraction import Keep, extract, whole
from harness.pruning.relay import Relay, perplexities_without
from harness.pruning.slicing import HALVES
from harness.pruning.walk import first_inputs, input_norms, observing, walk

KINDS = ["full_attention", "sliding_attention", "sliding_attention", "full_attention"]
WINDOW = 8
NONE = torch.tensor([], dtype=torch.long)
TOKENS = (torch.arange(3 * 40).view(3, 40) * 7) % 250 + 3  # five windows long


@pytest.fixture(params=["qwen2", "qwen3", "smollm3"])
def model(request):
    causal, config = FAMILIES[request.param]
    torch.manual_seed(0)
    made = causal(config(**SIZES, use_sliding_window=True, sliding_window=WINDOW, layer_types=list(KINDS)))
    return made.eval()


@torch.no_grad()
def logits(model):
    return model(input_ids=TOKENS, use_cache=False).logits


def silenced(model, *, attention=(), mlp=()):
    """Zero what some layers write, which is to leave it out."""
    with torch.no_grad():
        for index in attention:
            layers(model)[index].self_attn.o_proj.weight.zero_()
        for index in mlp:
            layers(model)[index].mlp.down_proj.weight.zero_()
    return model


def test_keeping_every_layer_changes_no_output(model):
    kept = extract(model, whole(model))
    assert kept.config.layer_types == KINDS
    assert torch.equal(logits(kept), logits(model))


@pytest.mark.parametrize("gone", [0, 1, 3])
def test_the_layers_that_stay_attend_as_before(model, gone):
    shorter = extract(model, [keep for keep in whole(model) if keep.layer != gone])
    assert shorter.config.layer_types == [kind for index, kind in enumerate(KINDS) if index != gone]
    assert torch.allclose(logits(shorter), logits(silenced(model, attention=[gone], mlp=[gone])), atol=1e-5)


PARTS = {
    "the only full layers": ([0, 3], [1]),
    "the first": ([0], []),
    "the first sliding one": ([1], [0]),
    "all sliding ones": ([1, 2], []),
}


@pytest.mark.parametrize("name", PARTS)
def test_without_some_attention_the_others_and_their_cache_are_as_before(model, name, tmp_path, tiny_folder):
    attention, mlp = PARTS[name]
    keeps = [
        Keep(index, NONE if index in attention else None, NONE if index in mlp else None) for index in range(len(KINDS))
    ]
    smaller = extract(model, keeps)
    checkpoint.save(smaller, tmp_path / "saved", tiny_folder)
    again = checkpoint.load(tmp_path / "saved")
    assert torch.allclose(logits(again), logits(silenced(model, attention=attention, mlp=mlp)), atol=1e-5)
    with torch.no_grad():
        begun = again(input_ids=TOKENS[:, :20], use_cache=True)
        parts = [begun.logits]
        for index in range(20, TOKENS.shape[1], 5):
            begun = again(input_ids=TOKENS[:, index : index + 5], past_key_values=begun.past_key_values)
            parts.append(begun.logits)
    assert torch.allclose(torch.cat(parts, 1), logits(again), atol=1e-5)


def test_alike_layers_take_the_slots_in_turn():
    assert cache_slots(None, [False, True, False, True]) == (["", "", "", ""], [None, 0, None, 1])


def test_a_slot_is_of_its_layers_kind_and_the_first_of_each_kind_is_in_use():
    kinds, slots = cache_slots(["s", "f", "s", "f", "s"], [False, True, False, True, True])
    assert kinds == ["f", "f", "f", "f", "s"]
    assert slots == [None, 0, None, 1, 4]


def test_pruning_sees_the_inputs_of_the_models_own_pass(model):
    own: list[dict] = [{} for _ in KINDS]
    with contextlib.ExitStack() as open_hooks:
        for layer, seen in zip(layers(model), own, strict=True):
            note = partial(lambda seen, name, x: seen.update({name: x.square().sum(0).sqrt()}), seen)
            open_hooks.enter_context(observing(layer, note))
        logits(model)
    for index, _, feed in walk(model, TOKENS, batch=3):
        actual = input_norms(feed)
        for name, norms in actual.items():
            assert torch.allclose(norms, own[index][name], rtol=1e-5), (index, name)


def test_layers_run_one_by_one_end_where_the_model_does(model):
    ends: list = []
    layers(model)[-1].register_forward_hook(lambda _, inputs, output: ends.append(output))
    logits(model)
    [states], arguments = first_inputs(model, TOKENS)
    halves = states
    for layer, [extra] in zip(layers(model), arguments, strict=True):
        with torch.no_grad():
            states = layer(states, **extra)
            for half in HALVES:  # slicegpt's
                halves = half.forward(layer, halves, extra)
    assert torch.allclose(states, ends[0], atol=1e-5)
    assert torch.allclose(halves, ends[0], atol=1e-5)


@torch.no_grad()
def loss(model) -> float:
    return model(input_ids=TOKENS, labels=TOKENS).loss.item()


def test_a_layers_perplexity_is_that_of_the_model_without_it(model):
    actual = perplexities_without(model, TOKENS).log().tolist()
    relay = Relay(model, TOKENS, batch=2)
    for index in range(len(KINDS)):
        without = loss(extract(model, [keep for keep in whole(model) if keep.layer != index]))
        assert actual[index] == pytest.approx(without, abs=1e-5)
        assert relay.loss(index, lambda state, **_: state) == pytest.approx(without, abs=1e-5)
    relay.replace(1, lambda state, **_: state)
    shorter = extract(model, [Keep(0), Keep(2), Keep(3)])
    assert relay.loss(3, relay.stack[3]) == pytest.approx(loss(shorter), abs=1e-5)


def test_an_outside_library_that_knows_no_kinds_is_not_given_them(model):
    from harness.outside.original_sparseml import translated

    settings = model.config.to_dict() | {"model_type": "qwen2"}
    with pytest.raises(SystemExit, match="sliding attention"):
        translated(settings)
    assert translated(settings | {"layer_types": ["full_attention"] * 4})["model_type"] == "qwen2"


def test_a_sub_network_attends_as_its_copy_does(model):
    full = Block(4, 96)
    for blocks in (
        [Block(0, 0), full, full, full],
        [full, Block(0, 0), full, Block(2, 50)],
        [Block(0, 96), full, full, full],
    ):
        one = Architecture(64, tuple(blocks))
        with Elastic(model) as elastic:
            elastic.activate(one)
            actual = logits(model)
        assert torch.allclose(actual, logits(extracted(model, one)), atol=1e-5)
    assert model.config.layer_types == KINDS
    assert [layer.self_attn.layer_idx for layer in layers(model)] == [0, 1, 2, 3]
