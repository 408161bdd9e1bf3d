"""What a recovery trains: all weights, LoRA, masked LoRA, or a mixture of LoRA experts.

All weights are those of the decoder; masked LoRA is for a sparse model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from transformers import PreTrainedModel

from harness.models.anatomy import layers
from harness.recovery.adapters import add_lora, merge_lora
from harness.recovery.kinds import Adapter
from harness.recovery.masked_lora import add_masked_lora, merge_masked_lora
from harness.recovery.mixture import add_mixture, balance, merge_mixture, mixtures, routing_shares


@dataclass(frozen=True)
class LoRA:
    """Size and place of low-rank factors; `experts` of which `top_k` see a token are the mixture's alone."""

    rank: int
    alpha: float
    targets: tuple[str, ...]
    dropout: float
    experts: int
    top_k: int
    seed: int


@dataclass(frozen=True)
class Adapted:
    """The tensors to train by name, their own term of the loss, and the way back to a plain model.

    `merge` makes a plain model of it all.
    """

    weights: dict[str, Tensor]
    penalty: Callable[[], Tensor | float]
    merge: Callable[[Iterable[Tensor]], None]  # given batches of token ids (rows, length)


def adapt(model: PreTrainedModel, adapter: Adapter, lora: LoRA, masks: Mapping[str, Tensor]) -> Adapted:
    """Prepare `model`, frozen, in place.

    `masks` by parameter name are True where the weights of a sparse model may change.

    ValueError for experts on a sparse model: merged, they would fill its zeros.
    """
    stack = layers(model)
    shared: dict[str, Any] = {"rank": lora.rank, "alpha": lora.alpha, "targets": lora.targets, "seed": lora.seed}
    if adapter == "full":
        return Adapted(dict(stack.named_parameters()), _nothing, lambda _: None)
    if adapter == "mixlora":
        if masks:
            raise ValueError(
                "adapter=mixlora would fill the zeros of a sparse model when it is merged; take full or lora"
            )
        weights = add_mixture(model, experts=lora.experts, top_k=lora.top_k, dropout=lora.dropout, **shared)
        count = len(mixtures(model))
        return Adapted(
            weights,
            lambda: balance(model) / count,
            lambda batches: merge_mixture(model, routing_shares(model, batches)),
        )
    if masks:
        weights = add_masked_lora(stack, masks, **shared)
        return Adapted(weights, _nothing, lambda _: merge_masked_lora(stack))
    weights = add_lora(model, dropout=lora.dropout, **shared)
    return Adapted(weights, _nothing, lambda _: merge_lora(model))


def _nothing() -> Tensor | float:
    return 0.0
