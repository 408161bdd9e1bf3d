"""The step that refits what writes to the residual stream.

o_proj and down_proj, layer by layer, by least squares.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from harness import progress
from harness.compress import store_model
from harness.spec import CalibrationSpec, Cost, Step, Work

if TYPE_CHECKING:
    from torch import Tensor

    from harness.recovery.solve import Sums

Target = Literal["output", "stream"]
Arguments = list[dict[str, Any]]  # what a layer is called with beside its states, a batch each
BEFORE = {
    "self_attn.o_proj": "input_layernorm",
    "mlp.down_proj": "post_attention_layernorm",
}  # read the stream before it


class Refit(Step):
    """Change o_proj and down_proj of each kept layer so that the model follows the dense one.

    The pruned model is made to follow it on calibration text.

    Targets: "output" is what the dense layer's own projection writes on the dense stream; "stream" is the dense stream after
    it minus the pruned stream before it, which makes up for the errors of earlier layers too. `damp` pulls towards the
    present weights, relative to the mean square of the inputs. Layers are done in order, each on inputs of refitted ones.
    """

    KIND = "refit"
    calibration: CalibrationSpec
    target: Target = "stream"
    damp: Annotated[float, Field(gt=0)] = 1.0

    def cost(self) -> Cost:
        return Cost(
            forward_tokens=6 * self.calibration.tokens, seconds=20
        )  # each layer of both models runs three times

    def checkpoint_share(self) -> float:
        return 1.0

    def run(self, work: Work) -> None:
        from harness.data.calibration import draw
        from harness.models import checkpoint
        from harness.models.anatomy import layers
        from harness.models.zeros import zero_masks

        source = work.checkpoint()
        calibration = draw(self.calibration, checkpoint.load_tokenizer(source))
        model = checkpoint.load(source, work.device)
        if zero_masks(layers(model)):
            raise ValueError("refit would fill the zeros of a sparse model; it follows structured methods only")
        dense = checkpoint.load(work.origin(), work.device)
        report = list(refitted(model, dense, calibration.tokens, target=self.target, damp=self.damp))
        (work.draft / "refit.json").write_text(json.dumps(report))
        store_model(work, model, calibration_tokens=calibration.count)


def refitted(
    model: Any, dense: Any, tokens: Tensor, *, target: Target, damp: float, batch: int = 8
) -> Iterator[dict[str, Any]]:
    """Refit `model` in place towards `dense` on `tokens` (samples, length).

    Yield each projection's error before and after.

    Errors are ||target - output||^2 / ||target||^2 on the calibration tokens.
    """
    import torch

    from harness.models.anatomy import layers, linears
    from harness.pruning.walk import first_inputs
    from harness.recovery.matching import match_layers
    from harness.recovery.solve import solve

    matched = match_layers(model, dense)
    with torch.no_grad():
        theirs, dense_arguments = first_inputs(dense, tokens, batch)
        ours, arguments = first_inputs(model, tokens, batch)
    position = 0  # of the next dense layer
    for index, layer in enumerate(progress.track(layers(model), "refit")):
        with torch.no_grad():
            while position < matched[index]:
                theirs = _forward(layers(dense)[position], theirs, dense_arguments[position])
                position += 1
            names = [name for name in BEFORE if name in dict(linears(layer))]  # attention or MLP may be gone
            theirs, goals = _goals(layers(dense)[position], names, theirs, dense_arguments[position])
            position += 1
            for name in names:
                sums = _sums(layer, name, ours, arguments[index], [goal[name] for goal in goals], target)
                change = solve(sums.gram, sums.cross, damp)
                weight = layer.get_submodule(name).weight
                weight.copy_(weight.double() + change)
                errors = {"before": sums.squares / sums.targets, "after": sums.left(change) / sums.targets}
                yield {"layer": index, "dense_layer": matched[index], "projection": name, **errors}
            ours = _forward(layer, ours, arguments[index])


def _forward(layer: Any, states: list[Tensor], arguments: Arguments) -> list[Tensor]:
    return [layer(state, **extra) for state, extra in zip(states, arguments, strict=True)]


def _goals(
    layer: Any, names: list[str], states: list[Tensor], arguments: Arguments
) -> tuple[list[Tensor], list[dict[str, tuple[Tensor, Tensor]]]]:
    """Return a dense layer's results, and what its projections wrote and the stream before their block.

    The last two are given per batch and projection.
    """
    results, goals = [], []
    for state, extra in zip(states, arguments, strict=True):
        result, seen = _seen(layer, names, state, extra)
        results.append(result)
        goals.append({name: (output, before) for name, (_, output, before) in seen.items()})
    return results, goals


def _sums(
    layer: Any,
    name: str,
    states: list[Tensor],
    arguments: Arguments,
    goals: list[tuple[Tensor, Tensor]],
    target: Target,
) -> Sums:
    """Return the sums over all tokens for one projection, a batch at a time."""
    from harness.recovery.solve import Sums

    linear = layer.get_submodule(name)
    sums = Sums.zeros(linear.in_features, linear.out_features, linear.weight.device)
    for state, extra, (wanted, dense_before) in zip(states, arguments, goals, strict=True):
        inputs, output, before = _seen(layer, [name], state, extra)[1][name]
        wanted = wanted.float()
        if target == "stream":
            wanted = wanted + (dense_before.float() - before.float())
        sums.add(inputs, output, wanted)
    return sums


def _seen(
    layer: Any, names: list[str], state: Tensor, extra: dict[str, Any]
) -> tuple[Tensor, dict[str, tuple[Tensor, Tensor, Tensor]]]:
    """Return the layer's result and, per projection, its inputs, outputs and the stream before it.

    Inputs are (tokens, in), the stream is (tokens, hidden).
    """
    by_name: dict[str, Tensor] = {}
    hooks = []
    for name in names:
        hooks += [
            layer.get_submodule(name).register_forward_hook(
                lambda _, inputs, output, name=name: by_name.update({f"{name}.in": inputs[0], f"{name}.out": output})
            ),
            layer.get_submodule(BEFORE[name]).register_forward_pre_hook(
                lambda _, inputs, name=name: by_name.update({f"{name}.before": inputs[0]})
            ),
        ]
    try:
        result = layer(state, **extra)
    finally:
        for hook in hooks:
            hook.remove()
    parts = ("in", "out", "before")
    return result, {name: tuple(by_name[f"{name}.{part}"].flatten(0, -2) for part in parts) for name in names}
