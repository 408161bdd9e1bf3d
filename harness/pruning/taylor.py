"""First-order effects of weights on the loss: gradients of calibration text, and |w g|."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from torch import Tensor
from transformers import PreTrainedModel

from harness import progress
from harness.pruning.anatomy import layers


@contextlib.contextmanager
def gradients(model: PreTrainedModel, tokens: Tensor) -> Iterator[None]:
    """While open, decoder layers hold in `grad` the gradient of the loss summed over samples of `tokens` (samples, length).

    In float32, and so are the weights meanwhile; afterwards they are of the checkpoint's dtype again and no gradient is left.
    """
    dtype = next(model.parameters()).dtype
    model.float()  # gradients of small differences; the result goes back to the checkpoint's dtype
    model.requires_grad_(False)
    for layer in layers(model):
        layer.requires_grad_(True)
    try:
        for sample in progress.track(tokens.split(1), "gradients"):
            model(input_ids=sample.to(model.device), labels=sample.to(model.device), use_cache=False).loss.backward()
        yield
    finally:
        model.zero_grad(set_to_none=True)
        model.to(dtype)


def element1(weight: Tensor) -> Tensor:
    """Return |w g| (out, in), the first-order change of the loss when the weight goes."""
    assert weight.grad is not None
    return (weight.detach() * weight.grad).abs().float()
