"""Attention over a packed trie.

Every segment attends to its ancestors and itself, wherever in the row they lie.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, PreTrainedModel

from harness.evaluation.batches import Batch

NAME = "packed_trie"
Carry = dict[int, tuple[Tensor, Tensor]]  # layer index -> (keys, values) that the next batch starts with


def packed_attention(
    module: nn.Module,
    query: Tensor,  # (1, heads, nodes, head_dim)
    key: Tensor,  # (1, groups, nodes, head_dim)
    value: Tensor,
    attention_mask: None,
    *,
    batch: Batch,
    carry: Carry,
    scaling: float | None = None,
    sliding_window: int | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """Return (1, nodes, heads, head_dim).

    `carry` gives the keys of earlier batches and takes those for the next one.
    """
    layer = module.layer_idx
    queries, keys, values = (state[0].transpose(0, 1) for state in (query, key, value))  # (nodes, heads, head_dim)
    if batch.carried:
        old_keys, old_values = carry[layer]
        keys, values = torch.cat([old_keys, keys]), torch.cat([old_values, values])
    device = query.device  # a device map may put layers on several
    if len(batch.keep):
        keep = batch.keep.to(device)
        carry[layer] = keys[keep], values[keep]
    heads, width = queries.shape[1:]
    results = []
    for group in batch.groups:
        asked = queries[group.queries.to(device)].transpose(1, 2)  # (rows, heads, queries, head_dim)
        seen = group.keys.to(device)
        output = scaled_dot_product_attention(
            asked,
            keys[seen].transpose(1, 2),
            values[seen].transpose(1, 2),
            attn_mask=group.mask(query.dtype, device, sliding_window),
            scale=scaling,
            enable_gqa=keys.shape[1] != heads,
        )
        results.append(output.transpose(1, 2).reshape(-1, heads, width))
    return torch.cat(results)[batch.places.to(device)][None], None


AttentionInterface.register(NAME, packed_attention)


@contextmanager
def packed(model: PreTrainedModel) -> Iterator[None]:
    """Make the model attend as `packed_attention` does while the context is open."""
    config = model.config
    before = config._attn_implementation
    config._attn_implementation = NAME
    try:
        yield
    finally:
        config._attn_implementation = before
