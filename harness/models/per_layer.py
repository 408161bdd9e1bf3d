"""Llama-shaped decoders whose layers have widths of their own, read from `config.per_layer_config`.

transformers (>= 5.15) has the configuration schema but not the modelling half, and its own Llama configuration
refuses head counts that do not divide the hidden size. Saved models carry this file by `auto_map`, so it imports nothing
of ours but `derived`, which goes with it: PerLayerNAMEConfig and PerLayerNAMEForCausalLM are made of any family's own classes
when they are asked for.
"""

from __future__ import annotations

import copy
from typing import Any

from torch import Tensor, nn

from .derived import Derivation

PREFIX = "per_layer_"


class Absent(nn.Module):
    """Stands where a layer's attention or MLP was removed: adds nothing to the residual stream."""


class AbsentAttention(Absent):
    def forward(self, hidden_states: Tensor, **_: Any) -> tuple[Tensor, None]:
        return hidden_states.new_zeros(()), None


class AbsentMLP(Absent):
    def forward(self, hidden_states: Tensor) -> Tensor:
        return hidden_states.new_zeros(())


def add_output_biases(model: Any) -> None:
    """Give o_proj and down_proj of every layer a bias of zeros where they have none.

    `config.output_bias` says so.
    """
    add_biases(model.model.layers)
    model.config.output_bias = True


def add_biases(layers: Any) -> None:
    """Give o_proj and down_proj of these layers a bias of zeros where they have none."""
    for layer in layers:
        for block, name in ((layer.self_attn, "o_proj"), (layer.mlp, "down_proj")):
            if not isinstance(block, Absent) and getattr(block, name).bias is None:
                linear = getattr(block, name)
                linear.bias = nn.Parameter(linear.weight.new_zeros(linear.out_features))


def cache_slots(kinds: list[str] | None, attends: list[bool]) -> tuple[list[str], list[int | None]]:
    """Return each layer's attention kind and its slot in the cache, None without attention.

    A cache has a slot for every layer and of its kind (full, sliding), and asks the first of all and the first of a kind how long
    it is: these must be in use. So a layer without attention, whose kind means nothing, gets that of the first one with attention.
    """
    kinds = kinds or [""] * len(attends)
    first = next((kind for kind, here in zip(kinds, attends, strict=True) if here), kinds[0])
    settled = [kind if here else first for kind, here in zip(kinds, attends, strict=True)]
    free = {kind: iter([index for index, other in enumerate(settled) if other == kind]) for kind in settled}
    return settled, [next(free[kind]) if here else None for kind, here in zip(settled, attends, strict=True)]


def take_widths(config: Any) -> dict[int, dict[str, Any]]:
    """Return each layer's own settings, and take them off the configuration.

    The family's classes build layers of one shape by it, which `give_widths` replaces.
    """
    overrides = config.to_dict().get("per_layer_config") or {}
    config.per_layer_config = None
    return {int(index): values for index, values in overrides.items()}


def give_widths(decoder: Any, config: Any, overrides: dict[int, dict[str, Any]]) -> None:
    """Build the layers of a decoder that have settings of their own anew, and put the settings back.

    A layer of no key-value heads, or of intermediate size 0, has no attention, or MLP, at all.
    """
    decoder.rotary_emb.config = copy.deepcopy(config)  # yarn asks for the head count, which per-layer ones refuse
    layer_class = type(decoder.layers[0])
    built = {index: {name: value for name, value in values.items() if value} for index, values in overrides.items()}
    config.per_layer_config = {index: values for index, values in built.items() if values}
    for index, values in overrides.items():
        if built[index]:
            layer = layer_class(config.per_layer_config[index], index)
            layer.self_attn.config = config  # attention kernels are chosen on the global configuration
            decoder.layers[index] = layer
        if values.get("num_key_value_heads") == 0:
            decoder.layers[index].self_attn = AbsentAttention()
            decoder.layers[index].input_layernorm = nn.Identity()
        if values.get("intermediate_size") == 0:
            decoder.layers[index].mlp = AbsentMLP()
            decoder.layers[index].post_attention_layernorm = nn.Identity()
    config.per_layer_config = overrides
    if getattr(config, "output_bias", False):
        add_biases(decoder.layers)
    settle_cache(decoder.layers, config)


def settle_cache(layers: Any, config: Any) -> None:
    """Give each layer with attention a slot of the cache, and each layer a kind of attention."""
    blocks = [layer.self_attn for layer in layers]
    kinds = getattr(config, "layer_types", None)
    settled, slots = cache_slots(kinds, [not isinstance(block, Absent) for block in blocks])
    for attention, slot in zip(blocks, slots, strict=True):
        if slot is not None:
            attention.layer_idx = slot
    if kinds:
        config.layer_types = settled


class PerLayerBase:
    """A decoder without its head, each layer built from its own configuration instead of the global one.

    `AutoModel` loads it: what serves models builds them by that.
    """

    def __init__(self: Any, config: Any) -> None:
        overrides = take_widths(config)
        family: Any = super()
        family.__init__(config)
        give_widths(self, config, overrides)
        self.post_init()


class PerLayerWidths:
    """Builds each decoder layer from its own configuration instead of the global one.

    With `output_bias` in the configuration, o_proj and down_proj have biases, whatever the family.
    """

    def __init__(self: Any, config: Any) -> None:
        overrides = take_widths(config)
        family: Any = super()
        family.__init__(config)
        give_widths(self.model, config, overrides)
        base = base_class(config.model_type.removeprefix(PREFIX))
        config.auto_map = {
            **(getattr(config, "auto_map", None) or {}),
            "AutoModel": f"{__name__.rpartition('.')[2]}.{base.__name__}",
        }
        self.post_init()


class OwnHeadCounts:
    """A configuration whose head counts need not divide the hidden size: head_dim is explicit."""

    def validate_architecture(self) -> None:
        """Accept what the parent refuses."""


DERIVED = Derivation(globals(), "PerLayer", PREFIX)


def config_class(family: str) -> Any:
    """Return the configuration class of per-layer models of a family, by its name in transformers."""
    return DERIVED.config(family, OwnHeadCounts)


def causal_class(family: str) -> Any:
    """Return the model class of per-layer models of a family.

    From then on `AutoModelForCausalLM` knows it.
    """
    return DERIVED.causal(family, PerLayerWidths, config_class(family))


def base_class(family: str) -> Any:
    """Return the class of per-layer decoders of a family without their head.

    From then on `AutoModel` knows it.
    """
    return DERIVED.base(family, PerLayerBase, config_class(family))


def __getattr__(name: str) -> Any:
    """Make the class that a checkpoint's `auto_map` names."""
    family, kind = DERIVED.asked(name)
    return {"config": config_class, "base": base_class, "causal": causal_class}[kind](family)
