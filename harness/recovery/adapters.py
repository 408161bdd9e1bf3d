"""LoRA by peft on the decoder's linears: put in before training, merged into plain weights after it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import PreTrainedModel


def add_lora(
    model: PreTrainedModel, *, rank: int, alpha: float, targets: Sequence[str], seed: int, dropout: float = 0.0
) -> dict[str, Tensor]:
    """Put LoRA factors beside the linears called `targets`, in place.

    Return the factors by name, the only weights to train.

    Outputs stay the same until a step is taken: the second factor starts at zero (Hu et al., arXiv 2106.09685). `dropout`
    acts on what the factors see, in training mode only.
    """
    from peft import LoraConfig, inject_adapter_in_model

    config = LoraConfig(r=rank, lora_alpha=alpha, target_modules=list(targets), lora_dropout=dropout)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        inject_adapter_in_model(config, model)
    model.requires_grad_(False)
    return {name: weight for name, weight in model.named_parameters() if ".lora_" in name}


@torch.no_grad()
def merge_lora(model: PreTrainedModel) -> None:
    """Add the factors' product to each weight and put the plain linears back, in place."""
    from peft.tuners.lora import LoraLayer

    adapted = [(name, module) for name, module in model.named_modules() if isinstance(module, LoraLayer)]
    for name, module in adapted:
        module.merge()
        parent, _, child = name.rpartition(".")
        setattr(model.get_submodule(parent), child, module.get_base_layer())
