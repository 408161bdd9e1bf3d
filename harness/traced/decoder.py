"""A decoder of any widths in plain tensor operations, with keys and values as inputs and outputs.

It computes in float32 what the model of transformers computes, from the same weights, without a cache object, a mask builder or
an attention function that tracing would freeze. Rotary angles are read from tables: computed inside a graph, they are computed
in the graph's own precision, and bfloat16 has no digits left for positions beyond a few hundred.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding, linear, pad, scaled_dot_product_attention, silu
from transformers import PreTrainedModel

from harness.models import anatomy, per_layer, sliced
from harness.models.anatomy import ATTENTION
from harness.traced.plain_families import refusal


class PlainDecoder(nn.Module):
    """(ids, mask, positions, *keys and values) to (logits, *keys and values), for batches of texts.

    ids (batch, new) int64, mask (batch, past + new) with 0 where a text has no token, positions (batch, new). Keys and values of
    each layer with attention: (batch, groups, past, head_dim) in, (batch, groups, past + new, head_dim) out. Logits (batch, new,
    vocabulary) float32. MLP channels are filled up with zeros to a multiple of `step`, which changes nothing.

    ValueError for a model that it does not compute.
    """

    def __init__(self, model: PreTrainedModel, step: int = 1) -> None:
        super().__init__()
        check(model.config)
        self.embeddings, self.norm, self.head = model.model.embed_tokens, Norm(model.model.norm), Product(model.lm_head)
        self.layers = nn.ModuleList(
            PlainLayer(layer, window(model.config, n), step) for n, layer in enumerate(anatomy.layers(model))
        )
        cosines, sines = rotary_tables(model)
        self.register_buffer("cosines", cosines, persistent=False)
        self.register_buffer("sines", sines, persistent=False)

    @property
    def caches(self) -> list[tuple[int, int]]:
        """Return (groups, head_dim) of keys and of values, layer by layer."""
        return [(layer.groups, layer.size) for layer in self.layers if layer.groups for _ in ("keys", "values")]

    def forward(self, ids: Tensor, mask: Tensor, positions: Tensor, *past: Tensor) -> tuple[Tensor, ...]:
        stream = embedding(ids, self.embeddings.weight).float()
        angles = self.cosines[positions].unsqueeze(1), self.sines[positions].unsqueeze(1)  # (batch, 1, new, head_dim)
        seen = torch.arange(mask.shape[1])
        asking = (torch.arange(ids.shape[1]) + (mask.shape[1] - ids.shape[1])).unsqueeze(1)
        here = (seen <= asking) & (mask > 0).unsqueeze(1).unsqueeze(1)  # (batch, 1, new, past + new)
        before, after = iter(past), []
        for layer in self.layers:
            if layer.groups:
                near = here & (seen > asking - layer.window) if layer.window else here
                written, keys, values = layer.attend(stream, angles, near, before)
                stream = layer.attention_shortcut(stream) + written
                after += [keys, values]
            if layer.width:
                stream = layer.mlp_shortcut(stream) + layer.transform(stream)
        return self.head(self.norm(stream)), *after


class PlainLayer(nn.Module):
    """A layer's projections and norms; `groups` is 0 without attention, `width` 0 without an MLP."""

    def __init__(self, layer: Any, window: int, step: int) -> None:
        super().__init__()
        shape = anatomy.layer_shape(layer)
        self.groups, self.queries, self.size, self.width = shape.groups, shape.queries, shape.head_dim, shape.width
        self.window, missing = window, -shape.width % step
        self.attention_shortcut, self.mlp_shortcut = nn.Identity(), nn.Identity()
        if self.groups:
            own = layer.self_attn
            self.scale, self.rotates = own.scaling, bool(getattr(own, "use_rope", True))
            self.input_norm = Norm(layer.input_layernorm)
            self.q_proj, self.k_proj, self.v_proj, self.o_proj = (Product(getattr(own, part)) for part in ATTENTION)
            self.q_norm, self.k_norm = (
                Norm(getattr(own, part)) if hasattr(own, part) else nn.Identity() for part in ("q_norm", "k_norm")
            )
        if self.width:
            self.mlp_norm = Norm(layer.post_attention_layernorm)
            self.gate_proj, self.up_proj = (Product(part, missing) for part in (layer.mlp.gate_proj, layer.mlp.up_proj))
            self.down_proj = Product(layer.mlp.down_proj, columns=missing)
        if hasattr(layer, "attention_shortcut"):  # of SliceGPT, between streams of two sizes
            self.attention_shortcut, self.mlp_shortcut = Product(layer.attention_shortcut), Product(layer.mlp_shortcut)

    def attend(
        self, stream: Tensor, angles: tuple[Tensor, Tensor], near: Tensor, past: Iterator[Tensor]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return what attention writes (batch, new, hidden), and all keys and values."""
        inputs = self.input_norm(stream)
        query = self.q_norm(self.heads(self.q_proj(inputs))).transpose(1, 2)
        key = self.k_norm(self.heads(self.k_proj(inputs))).transpose(1, 2)
        value = self.heads(self.v_proj(inputs)).transpose(1, 2)
        if self.rotates:
            query, key = rotated(query, *angles), rotated(key, *angles)
        keys, values = torch.cat([next(past), key], dim=2), torch.cat([next(past), value], dim=2)
        mixed = scaled_dot_product_attention(
            query, self.shared(keys), self.shared(values), attn_mask=near, scale=self.scale
        )
        return self.o_proj(mixed.transpose(1, 2).flatten(2)), keys, values

    def heads(self, part: Tensor) -> Tensor:
        """Return (batch, new, heads * head_dim) as (batch, new, heads, head_dim)."""
        return part.view(part.shape[0], part.shape[1], -1, self.size)

    def shared(self, part: Tensor) -> Tensor:
        """Return the groups (batch, groups, length, head_dim) once for each of their query heads."""
        if self.queries == 1:
            return part
        batch, _, length, _ = part.shape
        wide = part.unsqueeze(2).expand(batch, self.groups, self.queries, length, self.size)
        return wide.reshape(batch, self.groups * self.queries, length, self.size)

    def transform(self, stream: Tensor) -> Tensor:
        """Return what the MLP writes (batch, new, hidden)."""
        inputs = self.mlp_norm(stream)
        return self.down_proj(silu(self.gate_proj(inputs)) * self.up_proj(inputs))


class Product(nn.Module):
    """A projection, stored in its own dtype, with so many rows or columns of zeros more."""

    def __init__(self, source: nn.Linear, rows: int = 0, columns: int = 0) -> None:
        super().__init__()
        self.weight, self.bias = source.weight, source.bias
        if rows or columns:
            self.weight = nn.Parameter(pad(source.weight.detach(), (0, columns, 0, rows)))
            if self.bias is not None:
                self.bias = nn.Parameter(pad(self.bias.detach(), (0, rows)))

    def forward(self, part: Tensor) -> Tensor:
        return linear(part, self.weight.float(), self.bias.float() if self.bias is not None else None)


class Norm(nn.Module):
    """The root mean square norm."""

    def __init__(self, source: Any) -> None:
        super().__init__()
        self.weight, self.epsilon = source.weight, source.variance_epsilon

    def forward(self, part: Tensor) -> Tensor:
        return part * torch.rsqrt(part.pow(2).mean(-1, keepdim=True) + self.epsilon) * self.weight.float()


def example(caches: list[tuple[int, int]], batch: int = 2, past: int = 2, new: int = 3) -> tuple[torch.Tensor, ...]:
    """Return inputs of a decoder with a past."""
    ids, mask = torch.zeros(batch, new, dtype=torch.long), torch.ones(batch, past + new, dtype=torch.long)
    positions = torch.arange(past, past + new).expand(batch, new)
    return ids, mask, positions, *(torch.zeros(batch, groups, past, size) for groups, size in caches)


def check(config: Any) -> None:
    """Raise ValueError for settings that the decoder does not follow."""
    family = config.model_type.removeprefix(per_layer.PREFIX).removeprefix(sliced.PREFIX)
    if why := refusal(family, config.hidden_act, (config.rope_parameters or {}).get("rope_type", "default")):
        raise ValueError(why)


def window(config: Any, index: int) -> int:
    """Return how many tokens back a layer attends; 0 where to all."""
    size = getattr(config, "sliding_window", None) or 0
    kinds = getattr(config, "layer_types", None)
    return size if kinds is None or kinds[index] == "sliding_attention" else 0


def rotary_tables(model: PreTrainedModel) -> tuple[Tensor, Tensor]:
    """Return cosines and sines (positions, head_dim) float32 as the model computes and scales them."""
    places = torch.arange(model.config.max_position_embeddings)[None]
    cosines, sines = model.model.rotary_emb(torch.zeros(1, dtype=torch.float32), places)
    return cosines[0], sines[0]


def rotated(part: Tensor, cosines: Tensor, sines: Tensor) -> Tensor:
    """Return queries or keys (batch, heads, length, head_dim) turned by the angles of their positions."""
    half = part.shape[-1] // 2
    return part * cosines + torch.cat([-part[..., half:], part[..., :half]], dim=-1) * sines
