"""Floating-point operations of scoring.

Counted as torch runs them, and the least that a set of requests needs.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count
from transformers import PreTrainedModel

from harness.evaluation.trie import Floor


@contextmanager
def counting() -> Iterator[FlopCounterMode]:
    """Count what runs inside the context.

    Torch's counter knows attention's GPU kernels, the CPU's is added.
    """
    kernel = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    with FlopCounterMode(display=False, custom_mapping={kernel: _attention}) as counter:
        yield counter


def _attention(query: Any, key: Any, value: Any, *_: Any, out_shape: Any = None, **__: Any) -> int:
    return sdpa_flop_count(query, key, value)


def floor_flops(model: PreTrainedModel, floor: Floor) -> int:
    """Return the operations of `floor`: two a weight and token, four a pair, head and its dimension.

    The head two a weight.
    """
    head = model.get_output_embeddings().weight.numel()
    linear = pairwise = 0
    for layer in model.get_decoder().layers:
        linear += sum(module.weight.numel() for module in layer.modules() if isinstance(module, nn.Linear))
        pairwise += layer.self_attn.q_proj.out_features
    return 2 * linear * floor.tokens + 4 * pairwise * floor.pairs + 2 * head * floor.scores
