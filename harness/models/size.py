"""Size: parameters, parameters that are not zero, bytes on disk and in memory."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from harness.models.anatomy import counted, four_bit

NF4_ZERO = 7  # which of the sixteen values of NF4 is zero


@torch.no_grad()
def nonzero_count(model: nn.Module) -> int:
    """Return how many parameters differ from zero, tied ones counted once.

    Quantized weights by their stored integers.
    """
    return sum(_nonzero(parameter) for parameter in counted(model))


def _nonzero(weight: Tensor) -> int:
    if four_bit(weight):
        pairs = weight.data.view(torch.uint8)  # in an order of its own once a processor has computed with them
        return sum(int(torch.count_nonzero(half != NF4_ZERO)) for half in (pairs & 15, pairs >> 4))
    stored = getattr(weight, "qdata", None)
    return int(torch.count_nonzero(stored if stored is not None else weight.detach()))


def has_quantized(model: nn.Module) -> bool:
    """Tell whether a weight is held by a quantization library's own kind of tensor."""
    return any(
        four_bit(weight) or type(weight.data).__name__ not in ("Tensor", "Parameter") for weight in model.parameters()
    )


def resident_bytes(model: nn.Module) -> int:
    """Return the bytes that the weights take once loaded, tied ones counted once."""
    return sum(_bytes(parameter) for parameter in model.parameters())


def _bytes(weight: Tensor) -> int:
    if four_bit(weight):
        return weight.numel() * weight.element_size() + weight.quant_state.absmax.nbytes
    names = getattr(weight, "tensor_data_names", None)
    parts = [getattr(weight, name) for name in names] if names else [weight]
    return sum(part.numel() * part.element_size() for part in parts)
