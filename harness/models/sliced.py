"""Llama-shaped decoders whose residual stream has a size of its own before every attention and MLP.

SliceGPT's results.

`config.stream_sizes` holds two sizes a layer and the last one. Saved models carry this file by `auto_map`, so it imports
nothing of ours but `derived`, which goes with it: SlicedNAMEConfig and SlicedNAMEForCausalLM are made of any family's own
classes when they are asked for.
"""

from __future__ import annotations

import sys
from functools import cache
from typing import Any, ClassVar

from torch import Tensor, nn

from .derived import Derivation, causal_parent

PREFIX = "sliced_"


class StreamSizes:
    """Two sizes a layer, before its attention and before its MLP, and the last one.

    That is what final norm and head read.
    """

    stream_sizes: list[int] | None  # a field of the classes made below; None for all of the hidden size

    def __post_init__(self: Any, **kwargs: Any) -> None:
        family: Any = super()
        family.__post_init__(**kwargs)
        if self.stream_sizes is None:
            self.stream_sizes = [self.hidden_size] * (2 * self.num_hidden_layers + 1)

    def validate_architecture(self: Any) -> None:
        """ValueError where sizes and layers do not fit together.

        Head counts are those of a model that was valid.
        """
        sizes, hidden, layers = self.stream_sizes, self.hidden_size, self.num_hidden_layers
        if len(sizes) != 2 * layers + 1 or sizes[-1] != hidden or not all(1 <= size <= hidden for size in sizes):
            raise ValueError(
                f"{layers} layers need {2 * layers + 1} sizes of 1 to {hidden}, the last {hidden}: {sizes}"
            )
        if self.tie_word_embeddings:
            raise ValueError("the embeddings of a sliced model have another size than its head: they cannot be tied")


def sliced_norm(norm: Any, size: int, hidden: int) -> nn.Module:
    """Return the norm of the first `size` of `hidden` entries.

    Weight sqrt(hidden / size) makes it the dense norm of them.

    x / sqrt(|x|^2 / hidden + eps) = sqrt(hidden / size) x / sqrt(|x|^2 / size + eps hidden / size).
    """
    return type(norm)(size, eps=norm.variance_epsilon * hidden / size)


def resized(linear: nn.Linear, *, inputs: int | None = None, outputs: int | None = None) -> nn.Linear:
    """Return a new linear like `linear`, with another number of inputs or outputs."""
    return nn.Linear(inputs or linear.in_features, outputs or linear.out_features, bias=linear.bias is not None)


class SlicedLayer:
    """A decoder layer that reads streams of two sizes and writes to the next.

    Shortcuts carry the residual across.
    """

    def __init__(self: Any, config: Any, layer_idx: int) -> None:
        family: Any = super()
        family.__init__(config, layer_idx)
        before, between, after = config.stream_sizes[2 * layer_idx : 2 * layer_idx + 3]
        for name in ("q_proj", "k_proj", "v_proj"):
            setattr(self.self_attn, name, resized(getattr(self.self_attn, name), inputs=before))
        self.self_attn.o_proj = resized(self.self_attn.o_proj, outputs=between)
        for name in ("gate_proj", "up_proj"):
            setattr(self.mlp, name, resized(getattr(self.mlp, name), inputs=between))
        self.mlp.down_proj = resized(self.mlp.down_proj, outputs=after)
        self.input_layernorm = sliced_norm(self.input_layernorm, before, config.hidden_size)
        self.post_attention_layernorm = sliced_norm(self.post_attention_layernorm, between, config.hidden_size)
        self.attention_shortcut = nn.Linear(before, between, bias=False)
        self.mlp_shortcut = nn.Linear(between, after, bias=False)

    def forward(self: Any, hidden_states: Tensor, **arguments: Any) -> Tensor:
        """Return the stream (batch, length, after) given that (batch, length, before)."""
        written, _ = self.self_attn(hidden_states=self.input_layernorm(hidden_states), **arguments)
        hidden_states = self.attention_shortcut(hidden_states) + written  # (batch, length, between)
        written = self.mlp(self.post_attention_layernorm(hidden_states))
        return self.mlp_shortcut(hidden_states) + written  # (batch, length, after)


class SlicedStreams:
    """Puts sliced embeddings and layers in the place of the family's own.

    Final norm and head keep their size.
    """

    layer_class: ClassVar[type[nn.Module]]

    def __init__(self: Any, config: Any) -> None:
        family: Any = super()
        family.__init__(config)
        self.model.embed_tokens = nn.Embedding(config.vocab_size, config.stream_sizes[0], config.pad_token_id)
        self.model.layers = nn.ModuleList(
            [self.layer_class(config, index) for index in range(config.num_hidden_layers)]
        )
        self.model._no_split_modules = [
            self.layer_class.__name__
        ]  # a device map keeps a shortcut beside what it adds to
        self.post_init()


DERIVED = Derivation(globals(), "Sliced", PREFIX)


def config_class(family: str) -> Any:
    """Return the configuration class of sliced models of a family, by its name in transformers."""
    sizes = {"stream_sizes": None, "__annotations__": {"stream_sizes": list[int] | None}}
    return DERIVED.config(family, StreamSizes, **sizes)


@cache
def causal_class(family: str) -> Any:
    """Return the model class of sliced models of a family; from then on `AutoModelForCausalLM` knows it."""
    parent = causal_parent(family)
    layer = getattr(sys.modules[parent.__module__], parent.__name__.removesuffix("ForCausalLM") + "DecoderLayer")
    sliced = type(f"Sliced{layer.__name__}", (SlicedLayer, layer), {"__module__": __name__})
    return DERIVED.causal(family, SlicedStreams, config_class(family), layer_class=sliced)


def __getattr__(name: str) -> Any:
    """Make the class that a checkpoint's `auto_map` names."""
    family, kind = DERIVED.asked(name)
    return config_class(family) if kind == "config" else causal_class(family)
