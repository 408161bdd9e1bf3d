"""Llama-shaped decoders whose residual stream has a size of its own before every attention and MLP: SliceGPT's results.

`config.stream_sizes` holds two sizes a layer and the last one. Importing this module registers the classes, so that
`AutoModelForCausalLM.from_pretrained` reloads such checkpoints; saved models also carry this file by `auto_map`.
"""

from __future__ import annotations

from typing import Any, ClassVar

from huggingface_hub.dataclasses import strict
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)
from transformers.models.llama.modeling_llama import LlamaDecoderLayer
from transformers.models.mistral.modeling_mistral import MistralDecoderLayer
from transformers.models.qwen2.modeling_qwen2 import Qwen2DecoderLayer
from transformers.models.qwen3.modeling_qwen3 import Qwen3DecoderLayer


class StreamSizes:
    """Two sizes a layer, before its attention and before its MLP, and the last one, which final norm and head read."""

    stream_sizes: list[int] | None  # a field of the classes below; None for all of the hidden size

    def __post_init__(self: Any, **kwargs: Any) -> None:
        family: Any = super()
        family.__post_init__(**kwargs)
        if self.stream_sizes is None:
            self.stream_sizes = [self.hidden_size] * (2 * self.num_hidden_layers + 1)

    def validate_architecture(self: Any) -> None:
        """ValueError where sizes and layers do not fit together; head counts are those of a model that was valid."""
        sizes, hidden, layers = self.stream_sizes, self.hidden_size, self.num_hidden_layers
        if len(sizes) != 2 * layers + 1 or sizes[-1] != hidden or not all(1 <= size <= hidden for size in sizes):
            raise ValueError(
                f"{layers} layers need {2 * layers + 1} sizes of 1 to {hidden}, the last {hidden}: {sizes}"
            )
        if self.tie_word_embeddings:
            raise ValueError("the embeddings of a sliced model have another size than its head: they cannot be tied")


@strict  # collects the fields and validators anew
class SlicedLlamaConfig(StreamSizes, LlamaConfig):
    model_type = "sliced_llama"
    stream_sizes: list[int] | None = None


@strict
class SlicedMistralConfig(StreamSizes, MistralConfig):
    model_type = "sliced_mistral"
    stream_sizes: list[int] | None = None


@strict
class SlicedQwen2Config(StreamSizes, Qwen2Config):
    model_type = "sliced_qwen2"
    stream_sizes: list[int] | None = None


@strict
class SlicedQwen3Config(StreamSizes, Qwen3Config):
    model_type = "sliced_qwen3"
    stream_sizes: list[int] | None = None


def sliced_norm(norm: Any, size: int, hidden: int) -> nn.Module:
    """Return the norm of the first `size` of `hidden` entries; weight sqrt(hidden / size) makes it the dense norm of them.

    x / sqrt(|x|^2 / hidden + eps) = sqrt(hidden / size) x / sqrt(|x|^2 / size + eps hidden / size).
    """
    return type(norm)(size, eps=norm.variance_epsilon * hidden / size)


def resized(linear: nn.Linear, *, inputs: int | None = None, outputs: int | None = None) -> nn.Linear:
    """Return a new linear like `linear`, with another number of inputs or outputs."""
    return nn.Linear(inputs or linear.in_features, outputs or linear.out_features, bias=linear.bias is not None)


class SlicedLayer:
    """A decoder layer that reads streams of two sizes and writes to the next; shortcuts carry the residual across."""

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


class SlicedLlamaDecoderLayer(SlicedLayer, LlamaDecoderLayer):
    pass


class SlicedMistralDecoderLayer(SlicedLayer, MistralDecoderLayer):
    pass


class SlicedQwen2DecoderLayer(SlicedLayer, Qwen2DecoderLayer):
    pass


class SlicedQwen3DecoderLayer(SlicedLayer, Qwen3DecoderLayer):
    pass


class SlicedStreams:
    """Puts sliced embeddings and layers in the place of the family's own; final norm and head keep their size."""

    layer_class: ClassVar[type[nn.Module]]
    config_class: ClassVar[Any]

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


class SlicedLlamaForCausalLM(SlicedStreams, LlamaForCausalLM):
    config_class = SlicedLlamaConfig
    layer_class = SlicedLlamaDecoderLayer


class SlicedMistralForCausalLM(SlicedStreams, MistralForCausalLM):
    config_class = SlicedMistralConfig
    layer_class = SlicedMistralDecoderLayer


class SlicedQwen2ForCausalLM(SlicedStreams, Qwen2ForCausalLM):
    config_class = SlicedQwen2Config
    layer_class = SlicedQwen2DecoderLayer


class SlicedQwen3ForCausalLM(SlicedStreams, Qwen3ForCausalLM):
    config_class = SlicedQwen3Config
    layer_class = SlicedQwen3DecoderLayer


BY_FAMILY: dict[str, Any] = {
    "llama": SlicedLlamaForCausalLM,
    "mistral": SlicedMistralForCausalLM,
    "qwen2": SlicedQwen2ForCausalLM,
    "qwen3": SlicedQwen3ForCausalLM,
}

for _model in BY_FAMILY.values():
    AutoConfig.register(_model.config_class.model_type, _model.config_class, exist_ok=True)
    AutoModelForCausalLM.register(_model.config_class, _model, exist_ok=True)
    _model.config_class.register_for_auto_class()
    _model.register_for_auto_class("AutoModelForCausalLM")
