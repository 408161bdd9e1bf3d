"""Copy the kept parts of a decoder into a really smaller model that transformers reloads."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from harness.families.all_families import known
from harness.models.anatomy import layer_shape, layer_shapes, layers
from harness.models.per_layer import PREFIX, causal_class

NORMS = ("input_layernorm", "post_attention_layernorm")
ATTENTION_PARTS = ("self_attn.", "input_layernorm.")  # what goes with the last key-value group
MLP_PARTS = ("mlp.", "post_attention_layernorm.")


@dataclass(frozen=True)
class Keep:
    """What stays of one layer: indices of key-value groups and of MLP channels.

    None for all, empty for none.
    """

    layer: int
    groups: Tensor | None = None  # (kept groups,), ascending
    channels: Tensor | None = None  # (kept channels,), in the order wanted


def whole(model: PreTrainedModel) -> list[Keep]:
    """Return the plan that keeps everything."""
    return [Keep(index) for index in range(len(layers(model)))]


@torch.no_grad()
def extract(
    model: PreTrainedModel, keeps: Sequence[Keep], hidden: int | None = None, *, release: bool = False
) -> PreTrainedModel:
    """Return a new model of the layers in `keeps`, in their order, with the kept groups and channels.

    `hidden`: keep the first so many entries of the residual stream; None for all. Depth-only results stay of the model's
    own class; per-layer widths get the per-layer class of the family. `config.kept_layers` names the layers of the first
    model that it all began with. `release`: take the weights out of `model`, layer by layer, which leaves it of no use,
    so that the two never lie in memory side by side.
    """
    if not keeps:
        raise ValueError("a model needs at least one layer")
    stream = model.config.hidden_size if hidden is None else hidden
    head_dim = next(shape.head_dim for shape in layer_shapes(model) if shape.head_dim)
    gone = set(range(len(layers(model)))) - {keep.layer for keep in keeps}
    for index in gone if release else ():
        let_go(layers(model)[index])
    parts = []
    for keep in keeps:
        parts.append(_sliced(layers(model)[keep.layer], keep, stream))
        if release:
            let_go(layers(model)[keep.layer])
    family = known(model.config.model_type.removeprefix(PREFIX))
    lists = {name: entries for name in family.per_layer if (entries := getattr(model.config, name, None))}
    followed = {name: [entries[keep.layer] for keep in keeps] for name, entries in lists.items()}
    smaller = _build(model, family.name, [shape for shape, _ in parts], stream, head_dim, followed)
    first = getattr(model.config, "kept_layers", None) or range(len(layers(model)))
    smaller.config.kept_layers = [first[keep.layer] for keep in keeps]
    state = {
        name: _cut(tensor, stream, shared=release) if tensor.shape[-1:] == (model.config.hidden_size,) else tensor
        for name, tensor in model.state_dict().items()
        if ".layers." not in name
    }
    prefix = next(name for name in model.state_dict() if ".layers." in name).split(".layers.")[0]
    for index, (_, weights) in enumerate(parts):
        state |= {f"{prefix}.layers.{index}.{name}": tensor for name, tensor in weights.items()}
    smaller.load_state_dict(state, assign=True, strict=True)
    for name, buffer in model.get_decoder().rotary_emb.named_buffers():
        setattr(smaller.get_decoder().rotary_emb, name, buffer.clone())  # not in the state, and still on meta
    smaller.get_decoder().rotary_emb.original_inv_freq = smaller.get_decoder().rotary_emb.inv_freq
    smaller.tie_weights()
    smaller.generation_config = copy.deepcopy(model.generation_config)
    return smaller.eval()


def _cut(tensor: Tensor, stream: int, *, shared: bool) -> Tensor:
    """Return the first entries of the residual stream (..., stream).

    A copy, unless all stay and `shared` allows the same.
    """
    return tensor if shared and tensor.shape[-1] == stream else tensor[..., :stream].clone()


def let_go(layer: nn.Module) -> None:
    """Free the weights of a layer that nobody will use again."""
    for parameter in layer.parameters():
        parameter.data = parameter.data.new_empty(0)


def _sliced(layer: nn.Module, keep: Keep, stream: int) -> tuple[dict[str, int], dict[str, Tensor]]:
    shape = layer_shape(layer)
    groups = torch.arange(shape.groups) if keep.groups is None else keep.groups.cpu()
    channels = torch.arange(shape.width) if keep.channels is None else keep.channels.cpu()
    unit, query_unit = shape.head_dim, shape.head_dim * shape.queries
    keys = (groups[:, None] * unit + torch.arange(unit)).flatten()  # (groups * head_dim,)
    queries = (groups[:, None] * query_unit + torch.arange(query_unit)).flatten()
    residual = torch.arange(stream)
    rows = {"q_proj": queries, "k_proj": keys, "v_proj": keys, "gate_proj": channels, "up_proj": channels}
    columns = {"o_proj": queries, "down_proj": channels}
    gone = (*(() if len(groups) else ATTENTION_PARTS), *(() if len(channels) else MLP_PARTS))
    weights = {}
    for name, tensor in layer.state_dict().items():
        if name.startswith(gone):
            continue
        module, kind = name.split(".")[-2], name.split(".")[-1]
        if module in rows or module in columns:
            tensor = tensor[rows.get(module, residual).to(tensor.device)]
            if kind == "weight":
                tensor = tensor[:, columns.get(module, residual).to(tensor.device)]
        elif module in NORMS:
            tensor = tensor[:stream]
        weights[name] = tensor.clone()
    sizes = {
        "intermediate_size": len(channels),
        "num_key_value_heads": len(groups),
        "num_attention_heads": len(groups) * shape.queries,
    }
    return sizes, weights


def _build(
    model: PreTrainedModel,
    family: str,
    sizes: list[dict[str, int]],
    hidden: int,
    head_dim: int,
    followed: dict[str, list[Any]],
) -> PreTrainedModel:
    settings = model.config.to_dict()
    for name in ("per_layer_config", "auto_map", "model_type", "architectures", "transformers_version"):
        settings.pop(name, None)
    settings |= {"num_hidden_layers": len(sizes), "head_dim": head_dim, "hidden_size": hidden, **followed}
    causal = causal_class(family)
    plain = causal.__mro__[2]  # the family's own class, after the per-layer mixin
    heads = {name: settings[name] for name in ("num_key_value_heads", "num_attention_heads")}
    uniform = all(size == sizes[0] for size in sizes) and all(sizes[0][name] == value for name, value in heads.items())
    uniform = uniform and hidden == model.config.hidden_size and sizes[0]["intermediate_size"] > 0
    uniform = uniform and not settings.get("output_bias", False)  # biases that the family's own class may not have
    attention = model.config._attn_implementation
    dtype = next(model.parameters()).dtype
    with torch.device("meta"):
        if uniform:
            config = plain.config_class(**{**settings, **sizes[0]})
            built = plain._from_config(config, attn_implementation=attention, dtype=dtype)
        else:
            overrides = {
                str(index): {k: v for k, v in size.items() if settings[k] != v} for index, size in enumerate(sizes)
            }
            config = causal.config_class(**settings, per_layer_config={k: v for k, v in overrides.items() if v})
            built = causal._from_config(config, attn_implementation=attention, dtype=dtype)
    return built
