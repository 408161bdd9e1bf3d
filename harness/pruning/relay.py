"""Perplexity of models that differ in one decoder layer, without running again the layers before it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers import PreTrainedModel

from harness import progress
from harness.models.anatomy import layers
from harness.pruning.walk import first_inputs

Layer = Callable[..., Tensor]  # a decoder layer, or what is run in its place


class Relay:
    """A model's layers on `tokens` (samples, length), one of which is replaced at a time.

    Each layer's inputs are held, `batch` samples at once, so that a replacement costs no more than the layers from it on.
    The model itself stays as it is.
    """

    @torch.no_grad()
    def __init__(self, model: PreTrainedModel, tokens: Tensor, *, batch: int = 4) -> None:
        self.stack: list[Layer] = list(layers(model))
        self._model, self._samples = model, tokens.split(batch)
        first, self._arguments = first_inputs(model, tokens, batch)
        self._inputs = [first]  # per layer and batch (batch, length, hidden)
        self._count = tokens[:, 1:].numel()
        self.replace(0, self.stack[0])

    @torch.no_grad()
    def loss(self, index: int, layer: Layer) -> float:
        """Return the nats per token, the logarithm of the perplexity.

        With `layer` in the place of layer `index`.
        """
        stack, total = (layer, *self.stack[index + 1 :]), 0.0
        for sample, state, extras in zip(self._samples, self._inputs[index], self._extras(index), strict=True):
            total += negative_log_likelihood(self._model, run(stack, state, extras), sample)
        return total / self._count

    @torch.no_grad()
    def replace(self, index: int, layer: Layer) -> None:
        """Let `layer` stand in the place of layer `index` from now on."""
        self.stack[index] = layer
        del self._inputs[index + 1 :]
        for place in range(index, len(self.stack) - 1):
            batches = zip(self._inputs[-1], self._arguments[place], strict=True)
            self._inputs.append([self.stack[place](state, **extra) for state, extra in batches])

    def _extras(self, index: int) -> Iterator[tuple[dict[str, Any], ...]]:
        """Yield the arguments of the layers from `index` on, batch by batch."""
        return zip(*self._arguments[index:], strict=True)


def run(stack: Sequence[Layer], state: Tensor, arguments: Sequence[dict[str, Any]]) -> Tensor:
    """Return what comes out of layers one after the other (batch, length, hidden).

    Each called with its own arguments.
    """
    for layer, extra in zip(stack, arguments, strict=True):
        state = layer(state, **extra)
    return state


@torch.no_grad()
def perplexities_without(model: PreTrainedModel, tokens: Tensor) -> Tensor:
    """Return the perplexity (layers,) of `tokens` (samples, length) when each layer alone is left out.

    The perplexities are float64.

    One pass serves all for the layers before the one left out, so that n layers cost about n / 2 passes; one layer's
    inputs are held at a time.
    """
    stack = list(layers(model))
    states, arguments = first_inputs(model, tokens, batch=1)
    losses = []
    for index, layer in enumerate(progress.track(stack, "layers left out")):
        later = stack[index + 1 :]
        extras = [[of_layer[sample] for of_layer in arguments[index + 1 :]] for sample in range(len(states))]
        losses.append(
            sum(
                negative_log_likelihood(model, run(later, state, extra), sample)
                for sample, state, extra in zip(tokens.split(1), states, extras, strict=True)
            )
        )
        states = [layer(state, **extra) for state, extra in zip(states, arguments[index], strict=True)]
    return torch.tensor(losses, dtype=torch.float64).div(tokens[:, 1:].numel()).exp()


def negative_log_likelihood(model: PreTrainedModel, state: Tensor, samples: Tensor) -> float:
    """Return the nats, summed, of all but the first token of `samples` (batch, length).

    Given the last layer's output.
    """
    normed = model.get_decoder().norm(state[:, :-1])
    logits = model.get_output_embeddings()(normed).float()  # (batch, length - 1, vocabulary)
    return cross_entropy(logits.flatten(0, 1), samples[:, 1:].flatten().to(logits.device), reduction="sum").item()
