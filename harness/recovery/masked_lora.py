"""LoRA for sparse models: the factors' product counts only where the weight is not zero.

That holds in training and after it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional


class MaskedLoRA(nn.Module):
    """A frozen linear whose weight is W + mask * (alpha / rank) * B A.

    B starts at zero, so the function is W's at first.

    Plain LoRA adds B A x, a dense matrix of low rank, and merging it would fill the zeros that pruning wrote.
    """

    def __init__(self, linear: nn.Linear, mask: Tensor, *, rank: int, alpha: float, generator: torch.Generator) -> None:
        super().__init__()
        self.linear, self.scale = linear, alpha / rank
        self.register_buffer("mask", mask, persistent=False)  # (out, in), False where pruned
        bound = linear.in_features**-0.5  # as peft's: Kaiming uniform with a = sqrt(5)
        first = torch.empty(rank, linear.in_features).uniform_(-bound, bound, generator=generator)
        self.lora_A = nn.Parameter(first.to(linear.weight))  # (rank, in)
        self.lora_B = nn.Parameter(linear.weight.new_zeros(linear.out_features, rank))

    def change(self) -> Tensor:
        """Return what is added to the weight (out, in); zero where the mask is False."""
        return self.scale * self.mask * (self.lora_B @ self.lora_A)

    def forward(self, inputs: Tensor) -> Tensor:
        return functional.linear(inputs, self.linear.weight + self.change(), self.linear.bias)


def add_masked_lora(
    decoder_layers: nn.Module,
    masks: Mapping[str, Tensor],
    *,
    rank: int,
    alpha: float,
    targets: Sequence[str],
    seed: int,
) -> dict[str, Tensor]:
    """Wrap the linears called `targets` in place; return their factors by name, the only weights to train.

    `masks` (out, in), by parameter name, are True where a weight may change; a linear without one may change everywhere.
    """
    generator = torch.Generator().manual_seed(seed)
    decoder_layers.requires_grad_(False)
    by_name: dict[str, Tensor] = {}
    for name, linear in list(decoder_layers.named_modules()):
        if isinstance(linear, nn.Linear) and name.rpartition(".")[2] in targets:
            mask = masks.get(f"{name}.weight")
            mask = torch.ones_like(linear.weight, dtype=torch.bool) if mask is None else mask
            wrapped = MaskedLoRA(linear, mask, rank=rank, alpha=alpha, generator=generator)
            _put(decoder_layers, name, wrapped)
            by_name |= {f"{name}.lora_A": wrapped.lora_A, f"{name}.lora_B": wrapped.lora_B}
    return by_name


@torch.no_grad()
def merge_masked_lora(decoder_layers: nn.Module) -> None:
    """Add the changes to the weights and put the plain linears back, in place; zeros stay zeros."""
    for name, wrapped in list(_wrapped(decoder_layers)):
        wrapped.linear.weight.add_(wrapped.change())
        _put(decoder_layers, name, wrapped.linear)


def _wrapped(decoder_layers: nn.Module) -> Iterator[tuple[str, MaskedLoRA]]:
    for name, module in decoder_layers.named_modules():
        if isinstance(module, MaskedLoRA):
            yield name, module


def _put(decoder_layers: nn.Module, name: str, module: nn.Module) -> None:
    parent, _, child = name.rpartition(".")
    setattr(decoder_layers.get_submodule(parent), child, module)
