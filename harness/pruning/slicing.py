"""Half blocks between rotated and cut bases of the residual stream, and the model made of them.

After SliceGPT, arXiv 2401.15024.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import torch
from accelerate.utils import send_to_device
from torch import Tensor, nn
from transformers import PreTrainedModel

from harness.families.all_families import families
from harness.models.anatomy import layers
from harness.models.sliced import causal_class
from harness.models.zeros import zero_masks


@dataclass(frozen=True)
class Half:
    """Half of a decoder layer: a norm, a block, and the names of its readers, writer and shortcut.

    The `readers` of the block read the stream behind the norm.
    """

    norm: str
    block: str
    readers: tuple[str, ...]
    writer: str
    shortcut: str

    def forward(self, layer: nn.Module, stream: Tensor, extra: dict[str, Any]) -> Tensor:
        """Return the dense half block's result on `stream` (samples, length, hidden).

        On a stream projected to a basis it is the sliced half block's, in the dense model's coordinates.
        """
        norm, block = getattr(layer, self.norm), getattr(layer, self.block)
        stream = stream.to(norm.weight.device)  # a device map may put layers on several
        if self.block == "self_attn":
            return stream + block(hidden_states=norm(stream), **send_to_device(extra, stream.device))[0]
        return stream + block(norm(stream))

    def sliced(self, layer: nn.Module, before: Tensor, after: Tensor) -> dict[str, Tensor]:
        """Return the weights between bases `before` (hidden, size) and `after` (hidden, next size).

        They are given by name in the layer.

        Computed in float64, given in the layer's dtype. The norm's weight is sqrt(hidden / size); what rounding takes from
        that, the linears get.
        """
        gain = getattr(layer, self.norm).weight  # (hidden,)
        before, after = before.to(gain.device), after.to(gain.device)
        wanted = (before.shape[0] / before.shape[1]) ** 0.5
        weight = gain.new_full(before.shape[1:], wanted)  # (size,)
        folded = gain.double() * (wanted / weight[0].double())
        tensors = {f"{self.norm}.weight": weight, f"{self.shortcut}.weight": after.T @ before}
        for name, value in getattr(layer, self.block).state_dict(prefix=f"{self.block}.").items():
            module, kind = name.split(".")[1:]
            if module in self.readers and kind == "weight":
                tensors[name] = (value.double() * folded) @ before  # (out, size)
            elif module == self.writer:
                tensors[name] = after.T @ value.double()  # (next size, in), or of a bias (next size,)
            else:
                tensors[name] = value.clone()
        return {name: value.to(gain.dtype) for name, value in tensors.items()}


HALVES = (
    Half("input_layernorm", "self_attn", ("q_proj", "k_proj", "v_proj"), "o_proj", "attention_shortcut"),
    Half("post_attention_layernorm", "mlp", ("gate_proj", "up_proj"), "down_proj", "mlp_shortcut"),
)


def check_sliceable(model: PreTrainedModel) -> None:
    """ValueError for layers of different widths and for sparse ones, whose zeros a rotation would fill."""
    if model.config.model_type not in families():
        raise ValueError(
            f"slicegpt takes layers that are all alike ({', '.join(sorted(families()))}), not {model.config.model_type}"
        )
    if zero_masks(layers(model)):
        raise ValueError("slicegpt would fill the zeros of a sparse model; slice the dense one")


def assembled(model: PreTrainedModel, sizes: list[int], state: dict[str, Tensor]) -> PreTrainedModel:
    """Return the sliced model of `model`'s family with the weights `state`."""
    settings = model.config.to_dict()
    for name in ("auto_map", "model_type", "architectures", "transformers_version"):
        settings.pop(name, None)
    settings |= {"stream_sizes": sizes, "tie_word_embeddings": False}
    causal = causal_class(model.config.model_type)
    with torch.device("meta"):
        smaller = causal._from_config(
            causal.config_class(**settings),
            attn_implementation=model.config._attn_implementation,
            dtype=next(model.parameters()).dtype,
        )
    smaller.load_state_dict(state, assign=True, strict=True)
    rotary = smaller.get_decoder().rotary_emb
    for name, buffer in model.get_decoder().rotary_emb.named_buffers():
        setattr(rotary, name, buffer.clone())  # not in the state, and still on meta
    rotary.original_inv_freq = rotary.inv_freq
    smaller.generation_config = copy.deepcopy(model.generation_config)
    return smaller.eval()
