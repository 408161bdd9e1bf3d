"""The zeros of a sparse model: found before training, held during it."""

from __future__ import annotations

from torch import Tensor, nn

SPARSE = 0.01  # a linear with a larger share of zeros was pruned; fewer zeros happen by chance


def zero_masks(decoder_layers: nn.Module) -> dict[str, Tensor]:
    """Return masks (out, in) of the linears that are sparse, by parameter name.

    False where the weight is zero.
    """
    masks = {}
    for name, module in decoder_layers.named_modules():
        if isinstance(module, nn.Linear):
            mask = module.weight.detach() != 0
            if (~mask).sum() > SPARSE * mask.numel():
                masks[f"{name}.weight"] = mask
    return masks
