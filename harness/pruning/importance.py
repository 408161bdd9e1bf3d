"""How much each layer and each MLP channel matters, measured on calibration tokens."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedModel

from harness import progress
from harness.pruning.anatomy import layers
from harness.pruning.walk import observing


@dataclass(frozen=True)
class Importance:
    """Block influence per layer (layers,), and channel scores (width,) of each layer's MLP."""

    influence: Tensor
    channels: list[Tensor]


@torch.no_grad()
def measure(model: PreTrainedModel, tokens: Tensor, batch: int = 8) -> Importance:
    """Return importances from one pass over `tokens` (samples, length).

    influence_l = mean of 1 - cos(h_l, h_{l+1}) over tokens (ShortGPT, arXiv 2403.03853, eq. 1);
    channel_j = sqrt(mean h_j^2) * ||down[:, j]||_2, h the input of down_proj.
    """
    stack = layers(model)
    influence = torch.zeros(len(stack), dtype=torch.float64)
    squares = [torch.zeros(layer.mlp.down_proj.in_features, device=model.device) for layer in stack]
    hooks = [
        layer.register_forward_hook(_influence(influence, index), with_kwargs=True) for index, layer in enumerate(stack)
    ]
    try:
        for chunk in progress.track(tokens.split(batch), "importance"):
            with _all_observing(stack, squares):
                model.get_decoder()(input_ids=chunk.to(model.device), use_cache=False)
    finally:
        for hook in hooks:
            hook.remove()
    norms = [layer.mlp.down_proj.weight.float().norm(dim=0) for layer in stack]
    scores = [(square / tokens.numel()).sqrt() * norm for square, norm in zip(squares, norms, strict=True)]
    return Importance(influence / tokens.numel(), scores)


def _influence(total: Tensor, index: int):
    def hook(_, args, kwargs, output) -> None:
        before = args[0] if args else kwargs["hidden_states"]
        after = output[0] if isinstance(output, tuple) else output
        similarity = torch.cosine_similarity(before.float(), after.float(), dim=-1)
        total[index] += (1 - similarity).double().sum().item()

    return hook


class _all_observing:
    """Observe down_proj's inputs in every layer at once."""

    def __init__(self, stack, squares: list[Tensor]) -> None:
        self._contexts = [observing(layer, self._adder(square)) for layer, square in zip(stack, squares, strict=True)]

    @staticmethod
    def _adder(square: Tensor):
        def observe(name: str, inputs: Tensor) -> None:
            if name == "mlp.down_proj":
                square.add_(inputs.float().square().sum(0))

        return observe

    def __enter__(self) -> None:
        for context in self._contexts:
            context.__enter__()

    def __exit__(self, *error: object) -> None:
        for context in self._contexts:
            context.__exit__(None, None, None)
