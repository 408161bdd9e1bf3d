"""Search spaces: canonical genomes, exact sizes, even samples, seeds and repairs.

Sizes need no model, and the controls are among the seeds.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM, Qwen3Config, Qwen3ForCausalLM

from harness.models.anatomy import parameter_count
from harness.models.layer_shape import LayerShape
from harness.nas.architecture import Architecture, Block, Body, bits, parse
from harness.nas.controls import CONTROLS, middle_layers, snap
from harness.nas.space import Space
from harness.nas.spaces import SPACES, axes
from harness.nas.supernet import body, extracted

ORDER = (3, 2, 4, 1)


@pytest.fixture(params=list(SPACES))
def space(tiny, request):
    model, _ = tiny
    return Space(body(model, ORDER), axes(request.param))


@pytest.fixture
def fine(tiny):
    model, _ = tiny
    return Space(body(model, ORDER), axes("fine"))


def drawn(space, count=6):
    generator = np.random.default_rng(0)
    return np.concatenate([space.seeds(), space.sample(count, generator), space.uniform(count, generator)])


def test_parameters_are_exact_without_building_a_model(tiny, space):
    model, _ = tiny
    genomes = drawn(space, 3)
    sizes = space.sizes(genomes)
    for genome, size in zip(genomes, sizes, strict=True):
        architecture = space.decode(genome)
        built = parameter_count(extracted(model, architecture))
        assert space.body.parameters(architecture) == built == round(size * space.body.dense)


@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize("family", ["llama", "qwen2", "qwen3"])
def test_parameters_are_exact_for_every_family(family, biased):
    causal, config = {
        "llama": (LlamaForCausalLM, LlamaConfig),
        "qwen2": (Qwen2ForCausalLM, Qwen2Config),
        "qwen3": (Qwen3ForCausalLM, Qwen3Config),
    }[family]
    more = {"attention_bias": biased, "mlp_bias": biased} if family == "llama" else {}
    sizes = {
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 8,
    }
    model = causal(config(**sizes, **more, vocab_size=50, num_hidden_layers=3, tie_word_embeddings=biased)).eval()
    shape = body(model, (1,))
    absent = Architecture(24, (Block(0, 48), Block(1, 0), Block(2, 7)))
    for architecture in (shape.full, absent):
        assert shape.parameters(architecture) == parameter_count(extracted(model, architecture))


def test_equal_networks_have_one_canonical_form(tiny):
    model, _ = tiny
    space = Space(body(model, ORDER), axes("llama_nas"))
    genomes = np.array([[0, 1, 0, 0, 1, 0, 1], [0, 1, 0, 1, 0, 0, 1]])  # differ in layers 2 and 3, which are dropped
    assert space.decode(genomes[0]) == space.decode(genomes[1])
    assert np.array_equal(*space.canonical(genomes))


def test_equal_canonical_genomes_and_only_they_are_equal_networks(space):
    genomes = drawn(space, 20)
    canonical = space.canonical(genomes)
    for first in range(len(genomes)):
        for second in range(first):
            same = np.array_equal(canonical[first], canonical[second])
            assert same == (space.decode(genomes[first]) == space.decode(genomes[second]))


def test_an_architecture_encodes_to_the_genome_it_came_from(space):
    for genome in space.canonical(drawn(space)):
        architecture = space.decode(genome)
        assert space.decode(space.encode(architecture)) == architecture
        assert parse(architecture.plain()) == architecture


def test_samples_are_spread_over_the_range_of_sizes(tiny):
    model, _ = tiny
    for name in ("fine", "medium", "large"):
        space = Space(body(model, ORDER), axes(name), lowest=0.5)
        shares, _ = np.histogram(space.sizes(space.sample(60, np.random.default_rng(0))), bins=4, range=(0.5, 1.0))
        assert (shares >= 10).all()  # 15 a quarter when perfectly even; uniform genes leave quarters empty


def test_seeds_hold_the_corners_and_the_controls(fine):
    actual = [fine.decode(genome) for genome in fine.seeds()]
    assert fine.full() in actual
    assert fine.smallest() in actual
    edge = set(range(6)) - set(middle_layers(6))
    assert any(all((block.width == 160) == (layer in edge) for layer, block in enumerate(one.blocks)) for one in actual)
    step = 160 // 8
    spans = [
        np.ptp([block.width for block in one.blocks])
        for one in actual
        if all(block.width < 160 for block in one.blocks)
    ]
    assert min(spans) <= step, "uniform, up to the one step that brings it to its size"
    assert any(len(one.kept()) < 6 for one in actual)


def test_seeds_lie_within_the_range(tiny):
    model, _ = tiny
    for name in SPACES:
        space = Space(body(model, ORDER), axes(name), lowest=0.75, highest=0.9)
        assert space.allowed(space.seeds()).all()


def test_the_first_and_the_last_layer_are_never_dropped_by_depth(tiny):
    model, _ = tiny
    for name in ("llama_nas", "layer", "small", "joint"):
        space = Space(body(model, ORDER), axes(name))
        assert all({0, 5} <= set(space.decode(genome).kept()) for genome in drawn(space, 20))


@pytest.mark.parametrize("budget", [0.95, 0.9, 0.8, 0.7])
def test_snapping_meets_the_budget_and_keeps_the_layers(fine, budget):
    target = budget * fine.body.dense
    for genome in drawn(fine, 8):
        before = fine.decode(genome)
        after = snap(fine.body, before, target)
        for one, other in zip(before.blocks, after.blocks, strict=True):
            assert (one.groups, one.width > 0) == (other.groups, other.width > 0)
        widest = [
            block._replace(width=shape.width if block.width else 0)
            for block, shape in zip(before.blocks, fine.body.shapes, strict=True)
        ]
        least = [block._replace(width=min(block.width, fine.body.unit(0))) for block in before.blocks]
        reachable = [fine.body.parameters(before._replace(blocks=tuple(blocks))) for blocks in (least, widest)]
        if reachable[0] <= target <= reachable[1]:
            unit = fine.body.unit(0) * fine.body.shapes[0].channel_parameters
            assert abs(fine.body.parameters(after) - target) <= unit / 2 + 1


@pytest.mark.parametrize("name", list(CONTROLS))
@pytest.mark.parametrize("share", [0.95, 0.8, 0.7])
def test_controls_meet_the_budget(fine, name, share):
    actual = CONTROLS[name](fine.body, share * fine.body.dense)
    assert (
        abs(fine.body.parameters(actual) - share * fine.body.dense) <= 0.01 * fine.body.dense
    )  # a unit of a tiny layer


def test_repair_comes_near_any_size(space):
    generator = np.random.default_rng(0)
    least = space.sizes(np.zeros((1, space.genes), dtype=int))[0]
    for size in (0.9, 0.8, 0.7):
        if size > least and space.genes > 10:
            actual = space.sizes(space.repair(space.uniform(5, generator), size, generator))
            step = 0.05 if space.genes < 40 and space.genes != 12 else 0.01  # whole layers move in larger steps
            assert np.abs(actual - size).max() <= step


def test_sizes_of_the_papers_space_are_those_of_llama_2_7b():
    """Parameters of LLaMA-2-7B's members in the published space, by arithmetic.

    6.738 B whole, 3.496 B at the least.
    """
    layer = LayerShape(hidden=4096, groups=32, queries=1, head_dim=128, width=11008)
    shape = Body((layer,) * 32, 2 * 32000 * 4096 + 4096, tuple(range(30, 0, -1)))
    space = Space(shape, axes("llama_nas"))
    assert space.genes == 33
    sizes = {
        (depth, wide): space.sizes(np.array([[depth, *[wide] * 32]]))[0] * shape.dense / 1e9
        for depth in range(3)
        for wide in range(2)
    }
    expected = {(2, 1): 6.738, (1, 1): 5.929, (0, 1): 5.119, (2, 0): 4.574, (1, 0): 4.035, (0, 0): 3.496}
    assert sizes == pytest.approx(expected, abs=6e-4)
    assert shape.unit(0) == 128


def test_flops_are_those_that_are_counted(tiny):
    from torch.utils.flop_counter import FlopCounterMode

    model, _ = tiny
    shape = body(model, ORDER)
    ids = torch.arange(16)[None] + 3
    with (
        torch.no_grad(),
        torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH),
        FlopCounterMode(display=False) as counter,
    ):
        model(input_ids=ids, use_cache=False)
    linear = shape.flops(shape.full, context=0) * 16
    attention = 6 * 2 * 2 * 16 * 16 * shape.shapes[0].groups * shape.shapes[0].queries * shape.shapes[0].head_dim
    rotary = 2 * 16 * shape.shapes[0].head_dim // 2  # positions times frequencies
    assert counter.get_total_flops() == linear + attention + rotary


def test_costs_are_shares_of_the_dense_models(tiny):
    model, _ = tiny
    for cost in ("parameters", "bytes", "flops"):
        space = Space(body(model, ORDER), axes("fine"), cost=cost)
        genomes = drawn(space)
        actual = space.costs(genomes)
        assert actual == pytest.approx([space.price(space.decode(genome)) for genome in genomes])
        assert space.price(space.full()) == 1
        assert np.corrcoef(actual, space.sizes(genomes))[0, 1] > 0.8
    assert Space(body(model, ORDER), axes("fine"), cost="latency").costs(genomes) is None


def test_a_wrong_space_names_the_nearest():
    with pytest.raises(ValueError, match="search space llama_ns is unknown; did you mean llama_nas"):
        axes("llama_ns")


def test_bit_sets_round_trip():
    assert bits("b") == [0, 1, 3]


def test_snapping_leaves_whole_layers_whole_where_the_others_suffice(fine):
    blocks = list(fine.full().blocks)
    for layer in (2, 3):
        blocks[layer] = blocks[layer]._replace(width=80)
    before = Architecture(64, tuple(blocks))
    target = fine.body.parameters(before) * 0.97
    after = snap(fine.body, before, target)
    assert abs(fine.body.parameters(after) - target) <= fine.body.unit(0) * fine.body.shapes[0].channel_parameters
    assert [block.width for block in after.blocks if block.width == 160] == [160] * 4
