"""Shortened LLaMA: drop the layers whose absence harms perplexity least, or whose weights have the least effect on the loss."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers import PreTrainedModel

from harness import progress
from harness.data.calibration import Calibration
from harness.pruning.anatomy import layers, linears
from harness.pruning.depth import drop, ends
from harness.pruning.importance import measure
from harness.pruning.taylor import element1, gradients
from harness.pruning.walk import first_inputs
from harness.spec import Method


class ShortenedLlama(Method):
    """Remove layers in one shot, in the order of a criterion (Kim et al., arXiv 2402.02834), to meet the budget.

    "ppl": the perplexity of `samples` calibration samples without that layer alone, lowest first; any layer may go, since
    the paper attaches its "+" to the magnitude and Taylor criteria only and perplexity finds the needed layers by itself.
    "taylor" (Taylor+): the sum of |w dL/dw| over a layer's linear weights, lowest first; the first 4 and last 2 layers of 32
    (the same shares of other depths, rounded up) never go. `exact` as in `shortgpt`: one more layer loses a part; with
    `exact=False`, the paper's version, whole layers only. Where the layers that may go do not suffice: ValueError.
    """

    NAME = "shortened_llama"
    NEEDS: ClassVar[frozenset[str]] = frozenset({"calibration"})
    SOURCE: ClassVar[str] = "arXiv 2402.02834"
    budget: Annotated[float, Field(gt=0, le=1)]
    criterion: Literal["ppl", "taylor"] = "ppl"
    samples: Annotated[int, Field(gt=0)] = 10  # as in the paper
    exact: bool = True

    @property
    def needs(self) -> frozenset[str]:
        return self.NEEDS | {"backward"} if self.criterion == "taylor" else self.NEEDS

    def compress(self, model: PreTrainedModel, calibration: Calibration) -> PreTrainedModel:
        return drop(
            model,
            self.order(model, calibration.tokens[: self.samples]),
            self.budget,
            exact=self.exact,
            channel_scores=lambda index: measure(model, calibration.tokens).channels[index],
            what=self.NAME,
        )

    def order(self, model: PreTrainedModel, tokens: Tensor) -> list[int]:
        """Return the layers that may go, the least important first, by `tokens` (samples, length)."""
        if self.criterion == "ppl":
            return perplexities_without(model, tokens).argsort(stable=True).tolist()
        scores = effects(model, tokens)
        return sorted(unprotected(len(scores)), key=scores.__getitem__)


def unprotected(depth: int) -> range:
    """Return the layers but for the first 4 and last 2 of 32, in the same shares of `depth` rounded up."""
    first, last = ends(depth)
    return range(first, depth - last)


def effects(model: PreTrainedModel, tokens: Tensor) -> list[float]:
    """Return per layer the sum of |w dL/dw| over its linear weights, L the loss of `tokens` (samples, length)."""
    with gradients(model, tokens):
        return [
            sum(element1(linear.weight).double().sum().item() for _, linear in linears(layer))
            for layer in layers(model)
        ]


@torch.no_grad()
def perplexities_without(model: PreTrainedModel, tokens: Tensor) -> Tensor:
    """Return the perplexity (layers,), float64, of `tokens` (samples, length) when each layer alone is left out.

    One pass serves all for the layers before the one left out, so that n layers cost about n / 2 passes.
    """
    stack = list(layers(model))
    states, arguments = first_inputs(model, tokens, batch=1)
    losses = []
    for index, layer in enumerate(progress.track(stack, "layers left out")):
        total = 0.0
        for sample, state, extra in zip(tokens.split(1), states, arguments, strict=True):
            for later in stack[index + 1 :]:
                state = later(state, **extra)
            total += negative_log_likelihood(model, state, sample)
        losses.append(total)
        states = [layer(state, **extra) for state, extra in zip(states, arguments, strict=True)]
    return torch.tensor(losses, dtype=torch.float64).div(tokens[:, 1:].numel()).exp()


def negative_log_likelihood(model: PreTrainedModel, state: Tensor, sample: Tensor) -> float:
    """Return the nats, summed, of all but the first token of `sample` (1, length), given the last layer's output."""
    normed = model.get_decoder().norm(state[:, :-1])
    logits = model.get_output_embeddings()(normed).float()  # (1, length - 1, vocabulary)
    return cross_entropy(logits[0], sample[0, 1:].to(logits.device), reduction="sum").item()
