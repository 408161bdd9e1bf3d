"""Go through the decoder layer by layer, holding one layer's activations.

How calibration-based methods see inputs.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from harness.models.anatomy import layers, linears

Arguments = list[dict[str, Any]]  # what a layer is called with beside its states, a batch each


class _Passed(nn.Module):
    """Stands in a layer's place: lets the states pass and keeps what the layer would be called with."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer
        self.inputs: list[Tensor] = []
        self.arguments: Arguments = []

    def __getattr__(self, name: str) -> Any:  # transformers reads attributes such as attention_type from a layer
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("layer"), name)

    def forward(self, hidden: Tensor, **arguments: Any) -> Tensor:
        self.inputs.append(hidden.detach())
        self.arguments.append(arguments)
        return hidden


@torch.no_grad()
def first_inputs(model: PreTrainedModel, tokens: Tensor, batch: int = 8) -> tuple[list[Tensor], list[Arguments]]:
    """Return what the first layer receives, per batch, and keyword arguments per layer and batch.

    They are those of a pass over `tokens` (samples, length).

    Layers of one model may get different ones: another mask under a sliding window, other rotations. Equal ones are the
    same tensors.
    """
    stack = layers(model)
    passed = [_Passed(layer) for layer in stack]
    try:
        for index, each in enumerate(passed):
            stack[index] = each
        for chunk in tokens.split(batch):
            model.get_decoder()(input_ids=chunk.to(model.device), use_cache=False)
    finally:
        for index, each in enumerate(passed):
            stack[index] = each.layer
    return passed[0].inputs, [each.arguments for each in passed]


@torch.no_grad()
def walk(
    model: PreTrainedModel, tokens: Tensor, batch: int = 8
) -> Iterator[tuple[int, nn.Module, Callable[..., None]]]:
    """Yield (index, layer, feed) per layer; `feed(observe)` runs the layer on its inputs, calling
    `observe(name, x)` with x (tokens, in) for every projection. When the consumer goes on, the layer as it is
    then (pruned or not) makes the next layer's inputs.
    """
    hidden, arguments = first_inputs(model, tokens, batch)
    for index, layer in enumerate(layers(model)):
        yield index, layer, partial(_feed, layer, hidden, arguments[index])
        hidden = [layer(state, **extra) for state, extra in zip(hidden, arguments[index], strict=True)]


def _feed(layer: nn.Module, hidden: list[Tensor], arguments: Arguments, observe: Callable[[str, Tensor], None]) -> None:
    with observing(layer, observe):
        for state, extra in zip(hidden, arguments, strict=True):
            layer(state, **extra)


def input_norms(feed: Callable[..., None]) -> dict[str, Tensor]:
    """Return ||X_j||_2 (in,) by projection, over all tokens that `feed` (see `walk`) runs through a layer."""
    squares: dict[str, Tensor] = {}

    def observe(name: str, inputs: Tensor) -> None:
        squares[name] = squares.get(name, 0) + inputs.float().square().sum(0)  # (in,)

    feed(observe)
    return {name: total.sqrt() for name, total in squares.items()}


@contextlib.contextmanager
def observing(layer: nn.Module, observe: Callable[[str, Tensor], None]) -> Iterator[None]:
    """Call `observe(name, x)` with the flattened input (tokens, in) of each projection.

    It is called while the context is open.
    """
    hooks = [
        linear.register_forward_pre_hook(lambda _, inputs, name=name: observe(name, inputs[0].flatten(0, -2)))
        for name, linear in linears(layer)
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
