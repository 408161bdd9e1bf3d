"""Effects of weights on the loss.

Gradients of calibration text, and what they say about a weight that goes.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from functools import partial

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from harness import progress
from harness.models.anatomy import layers, linears


@contextlib.contextmanager
def gradients(model: PreTrainedModel, tokens: Tensor, *, squares: bool = False) -> Iterator[dict[nn.Parameter, Tensor]]:
    """While open, decoder layers hold in `grad` the gradient of the loss, summed over samples.

    The gradient is taken on `tokens` (samples, length).

    In float32, and so are the weights meanwhile; afterwards they are of the checkpoint's dtype again and no gradient is left.
    Gives, if `squares`, per weight of the layers' linears the sum over samples of its squared gradients (out, in), which
    costs one more copy of these weights; otherwise nothing.
    """
    dtype, buffers = next(model.parameters()).dtype, dict(model.named_buffers())
    model.float()  # gradients of small differences; the result goes back to the checkpoint's dtype
    model.requires_grad_(False)
    for layer in layers(model):
        layer.requires_grad_(True)
    weights = [linear.weight for layer in layers(model) for _, linear in linears(layer)] if squares else []
    squared = {weight: torch.zeros_like(weight, requires_grad=False) for weight in weights}
    hooks = [weight.register_hook(partial(_add_square, total)) for weight, total in squared.items()]
    try:
        for sample in progress.track(tokens.split(1), "gradients"):
            model(input_ids=sample.to(model.device), labels=sample.to(model.device), use_cache=False).loss.backward()
        yield squared
    finally:
        for hook in hooks:
            hook.remove()
        model.zero_grad(set_to_none=True)
        model.to(dtype)
        for name, buffer in buffers.items():  # rotary frequencies are float32 in a model of any dtype
            module, _, own = name.rpartition(".")
            setattr(model.get_submodule(module), own, buffer)


def _add_square(total: Tensor, gradient: Tensor) -> None:
    total.addcmul_(gradient, gradient)  # the hook sees the gradient of one sample, before it joins the sum in `grad`


def vector(weight: Tensor, dim: int) -> Tensor:
    """Return |sum over `dim` of w g| (out,) or (in,).

    It is the first-order change of the loss when a whole row or column goes.
    """
    assert weight.grad is not None
    return (weight.detach() * weight.grad).sum(dim).abs()


def element1(weight: Tensor) -> Tensor:
    """Return |w g| (out, in), the first-order change of the loss when the weight goes."""
    assert weight.grad is not None
    return (weight.detach() * weight.grad).abs().float()


def element2(weight: Tensor, squared: Tensor) -> Tensor:
    """Return |w g - w^2 s / 2| (out, in), to second order.

    Given the sum s of its squared gradients over samples.

    g is the sum over the same samples, and s stands for the diagonal of the Hessian (Fisher information).
    """
    assert weight.grad is not None
    weights = weight.detach()
    return (weights * weight.grad - weights.square() * squared / 2).abs()
