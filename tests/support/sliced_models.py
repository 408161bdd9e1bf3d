"""Models that SliceGPT is tested on, with streams of chosen sizes."""

from __future__ import annotations

import torch
from structured_models import SHAPE

from baselines.slicegpt import SliceGPT

DTYPES = (torch.float32, torch.bfloat16)
HALF_BLOCKS = 2 * SHAPE["num_hidden_layers"]
BIASED = [("llama", {"attention_bias": True, "mlp_bias": True}), ("qwen3", {"attention_bias": True})]
MIXED = [56, 40, 48, 40, 33, 64, 48, 40, 40, 40, 32, 40, 64]  # narrower, wider and whole streams in turn


class Sized(SliceGPT):
    """SliceGPT with sizes that a test chooses."""

    stream: tuple[int, ...] = (64,) * (HALF_BLOCKS + 1)
    budget: float = 1.0

    def sizes(self, model):
        return list(self.stream)


def uneven(model):
    """Gains and the stream's directions differ, as they do in trained models; a random one has gains of 1."""
    draws = torch.Generator().manual_seed(5)
    for name, weight in model.named_parameters():
        if name.endswith("norm.weight"):
            weight.data = 1 + 0.3 * torch.randn(weight.shape, generator=draws)
    mixing = torch.randn(64, 64, generator=draws) / 8
    model.get_input_embeddings().weight.data = model.get_input_embeddings().weight @ mixing
    return model


def reduced(sizes) -> Sized:
    return Sized(stream=tuple(sizes))
