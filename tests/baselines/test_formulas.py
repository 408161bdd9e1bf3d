"""Each baseline against an independent statement of its paper's formula on a small random model."""

from __future__ import annotations

import torch

from baselines.llm_pruner import LLMPruner
from baselines.magnitude import Magnitude
from baselines.shortgpt import ShortGPT
from baselines.wanda import Wanda
from harness.data.calibration import Calibration
from harness.models.anatomy import layer_shapes, layers, linears, parameter_count
from harness.models.random_llama import build
from harness.pruning.importance import measure
from harness.pruning.ratios import pruned
from harness.pruning.taylor import element1

TOKENS = torch.randint(2, 258, (6, 32), generator=torch.Generator().manual_seed(3))


def test_magnitude_keeps_the_largest_weights_of_each_matrix():
    model, _ = build()
    before = [linear.weight.clone() for layer in layers(model) for _, linear in linears(layer)]
    after = [
        linear.weight
        for layer in layers(Magnitude(sparsity=0.4).compress(model, Calibration(TOKENS)))
        for _, linear in linears(layer)
    ]
    for old, new in zip(before, after, strict=True):
        threshold = old.abs().flatten().sort().values[int(old.numel() * 0.4)]
        assert torch.equal(new, torch.where(old.abs() >= threshold, old, 0.0))


def projection_inputs(model, layer) -> dict[str, list[torch.Tensor]]:
    """Return what each projection of a layer receives in a plain forward pass of the whole model."""
    inputs: dict[str, list[torch.Tensor]] = {}

    def remember(name):
        return lambda _, args: inputs.setdefault(name, []).append(args[0].detach().reshape(-1, args[0].shape[-1]))

    hooks = [linear.register_forward_pre_hook(remember(name)) for name, linear in linears(layer)]
    with torch.no_grad():
        model(TOKENS)
    for hook in hooks:
        hook.remove()
    return inputs


def test_wanda_prunes_by_weight_times_input_norm_within_rows_layer_after_layer():
    """The inputs are recomputed here with plain hooks on the whole, partly pruned model: no shared code."""
    model, _ = build()
    expected, _ = build()
    for layer in layers(expected):
        inputs = projection_inputs(expected, layer)
        for name, linear in linears(layer):
            norms = torch.cat(inputs[name]).norm(dim=0)
            score = linear.weight.detach().abs() * norms[None, :]
            for row in range(score.shape[0]):
                lowest = score[row].argsort()[: score.shape[1] // 2]
                with torch.no_grad():
                    linear.weight[row, lowest] = 0
    result = Wanda(sparsity=0.5).compress(model, Calibration(TOKENS))
    for ours, theirs in zip(layers(result), layers(expected), strict=True):
        for (_, one), (_, other) in zip(linears(ours), linears(theirs), strict=True):
            assert torch.equal(one.weight, other.weight)


def test_block_influence_is_one_minus_the_cosine_of_input_and_output():
    model, _ = build()
    actual = measure(model, TOKENS, batch=2).influence
    with torch.no_grad():
        states = model(TOKENS, output_hidden_states=True).hidden_states[:-1]
        outputs = {}
        hook = layers(model)[-1].register_forward_hook(lambda _, __, output: outputs.update(last=output))
        model(TOKENS)
        hook.remove()
    states = [*states, outputs["last"]]
    for index, score in enumerate(actual):
        cosine = torch.cosine_similarity(states[index], states[index + 1], dim=-1).mean()
        assert abs(score - (1 - cosine)) < 1e-5  # float32 sums in another order


def test_shortgpt_without_exact_drops_whole_layers_of_least_influence():
    model, _ = build()
    order = measure(model, TOKENS).influence.argsort().tolist()
    shapes, dense = layer_shapes(model), parameter_count(model)
    budget = 1 - 2 * shapes[0].parameters / dense
    kept_weights = [layers(model)[index].mlp.up_proj.weight.clone() for index in range(6) if index not in order[:2]]
    shorter = ShortGPT(budget=budget, exact=False).compress(model, Calibration(TOKENS))
    assert all(
        torch.equal(layer.mlp.up_proj.weight, weight)
        for layer, weight in zip(layers(shorter), kept_weights, strict=True)
    )


def test_llm_pruner_sums_first_order_effects_over_coupled_weights():
    model, _ = build()
    pruner = LLMPruner(budget=0.8)
    actual = pruner.importance(model, TOKENS[:4])
    reference, _ = build()
    for sample in TOKENS[:4].split(1):
        reference(sample, labels=sample).loss.backward()
    layer = layers(reference)[2]
    attention, mlp = layer.self_attn, layer.mlp
    groups, channels = actual[2]
    for group in range(4):  # 8 query heads, 4 key-value heads: heads 2g and 2g + 1 share group g
        rows = slice(group * 16, group * 16 + 16)
        keys = slice(group * 8, group * 8 + 8)
        expected = sum(
            (weight * gradient).abs().sum()
            for weight, gradient in (
                (attention.q_proj.weight[rows], attention.q_proj.weight.grad[rows]),
                (attention.k_proj.weight[keys], attention.k_proj.weight.grad[keys]),
                (attention.v_proj.weight[keys], attention.v_proj.weight.grad[keys]),
                (attention.o_proj.weight[:, rows], attention.o_proj.weight.grad[:, rows]),
            )
        )
        assert torch.isclose(groups[group], expected, rtol=1e-4)  # float32 sums in another order
    channel = 7
    expected = sum(
        (weight * gradient).abs().sum()
        for weight, gradient in (
            (mlp.gate_proj.weight[channel], mlp.gate_proj.weight.grad[channel]),
            (mlp.up_proj.weight[channel], mlp.up_proj.weight.grad[channel]),
            (mlp.down_proj.weight[:, channel], mlp.down_proj.weight.grad[:, channel]),
        )
    )
    assert torch.isclose(channels[channel], expected, rtol=1e-4)


def test_llm_pruner_leaves_the_first_and_last_layers_whole():
    model, _ = build()
    before = layer_shapes(model)
    after = layer_shapes(LLMPruner(budget=0.8, protect_first=1, protect_last=1).compress(model, Calibration(TOKENS)))
    assert after[0] == before[0]
    assert after[-1] == before[-1]
    assert all(shape.width < before[0].width for shape in after[1:-1])


def test_llm_pruner_takes_key_value_groups_with_all_their_query_heads():
    shape = layer_shapes(build()[0])[0]
    smaller = pruned(shape, 0.5, 0.25)
    assert (smaller.groups, smaller.queries, smaller.width) == (2, 2, 120)


def test_element1_is_weight_times_gradient():
    weight = torch.nn.Parameter(torch.tensor([[1.0, -2.0]]))
    (weight * torch.tensor([[3.0, 5.0]])).sum().backward()
    assert element1(weight).tolist() == [[3.0, 10.0]]
