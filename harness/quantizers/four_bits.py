"""Calibrated 4-bit weights, GPTQ and AWQ, through llm-compressor.

Both look at the windows that every method of a run sees.
"""

from __future__ import annotations

import contextlib
import importlib.util
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from harness.spec import Quantizer

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

GROUPS = (64, 32, 16)  # weights of a row that share a scale: the first that divides the row
HEAD = ["re:.*lm_head"]


class FourBits(Quantizer):
    """Weights in 4 bits, a scale and a zero for every 64 of a row.

    For 32 or 16 where these divide it and 64 does not. Projections whose rows none of them divides stay as they are; how many have
    which group stands in the step's result.
    """

    CALIBRATED: ClassVar[bool] = True
    SHARE = 0.6

    def bits(self, working: int, hidden: int, tied: bool) -> tuple[float, float]:
        return 4 + (16 + 4) / group(hidden) if group(hidden) else working, working

    @classmethod
    def unavailable(cls) -> str:
        absent = importlib.util.find_spec("llmcompressor") is None
        return "needs llm-compressor, which is not installed: pip install '.[llmcompressor]'" if absent else ""

    def modifiers(self, model: PreTrainedModel, groups: dict[str, Any]) -> dict[str, Any]:
        """Return the modifiers that quantize these config groups, by name."""
        raise NotImplementedError(f"{type(self).__name__} must implement modifiers")

    def calibrate(self, source: Path, target: Path, tokens: Tensor, device: str) -> dict[str, Any]:
        import yaml

        from harness.models import checkpoint
        from harness.models.anatomy import parameter_count
        from harness.models.size import nonzero_count
        from harness.outside.run_recipe import apply

        model, tokenizer = checkpoint.load(source, device), checkpoint.load_tokenizer(source)
        facts: dict[str, Any] = {"parameters": parameter_count(model)}
        places = by_group(model)
        if not any(places.values()):
            raise ValueError(f"{self.NAME} finds no linear to quantize in a {model.config.model_type} model")
        recipe = {"quantization_stage": {"quantization_modifiers": self.modifiers(model, config_groups(places))}}
        with unpinned():
            apply(model, yaml.safe_dump(recipe), tokens, tokenizer, target.with_name("recipe.yaml"))
        facts |= {"nonzero_parameters": nonzero_count(model), "groups": dict(Counter(places.values()))}
        with checkpoint.quiet():
            model.save_pretrained(target, save_compressed=True)
        checkpoint.copy_tokenizer(source, target)
        return facts


@contextlib.contextmanager
def unpinned() -> Iterator[None]:
    """Let llm-compressor leave memory unpinned where there is no accelerator.

    Its AWQ (0.14) pins what it caches on every machine, and torch refuses that on one without.
    """
    import torch
    from llmcompressor.pipelines import cache

    kind: Any = cache.IntermediatesCache
    if torch.accelerator.is_available():
        yield
        return
    original = kind.pin_memory
    kind.pin_memory = lambda *_, **__: None
    try:
        yield
    finally:
        kind.pin_memory = original


def group(row: int) -> int:
    """Return the weights of a row that share a scale; 0 where no group divides it."""
    return next((size for size in GROUPS if row % size == 0), 0)


def by_group(model: PreTrainedModel) -> dict[str, int]:
    """Return the group of each projection of the decoder's layers, by its name in the model."""
    from harness.models.anatomy import layers, linears

    return {
        f"model.layers.{index}.{name}": group(linear.in_features)
        for index, layer in enumerate(layers(model))
        for name, linear in linears(layer)
    }


def config_groups(places: dict[str, int]) -> dict[str, Any]:
    """Return llm-compressor's settings of weights, a group of projections for each size."""
    return {
        f"groups_of_{size}": {
            "targets": [name for name, own in places.items() if own == size],
            "weights": {"num_bits": 4, "type": "int", "symmetric": False, "strategy": "group", "group_size": size},
        }
        for size in GROUPS
        if size in places.values()
    }


class Gptq4(FourBits):
    """GPTQ (arXiv 2210.17323): what rounding a column loses, the columns behind it make good.

    4 bits, a scale and a zero for every 64 weights, by llm-compressor on the run's calibration windows. transformers computes it in
    floating point: such rows are emulated.
    """

    NAME = "gptq4"

    def modifiers(self, model: PreTrainedModel, groups: dict[str, Any]) -> dict[str, Any]:
        return {"GPTQModifier": {"ignore": HEAD, "config_groups": groups}}


class Awq4(FourBits):
    """AWQ (arXiv 2306.00978): channels that see large activations are scaled up before rounding.

    4 bits, a scale and a zero for every 64 weights, by llm-compressor on the run's calibration windows. transformers computes it in
    floating point: such rows are emulated.
    """

    NAME = "awq4"

    def modifiers(self, model: PreTrainedModel, groups: dict[str, Any]) -> dict[str, Any]:
        return {
            "AWQModifier": {"mappings": mappings(model)},
            "QuantizationModifier": {"ignore": HEAD, "config_groups": groups},
        }


def mappings(model: PreTrainedModel) -> list[dict[str, Any]]:
    """Return which layer's outputs are scaled down for which projections, where a layer has them.

    v_proj for o_proj only where no query heads share a value; none for projections that stay as they are.
    """
    from harness.models.anatomy import has_attention, has_mlp, layers

    pairs = []
    for index, layer in enumerate(layers(model)):
        place = f"model.layers.{index}."
        if has_attention(layer):
            pairs.append((place, "input_layernorm", [f"self_attn.{part}_proj" for part in "qkv"]))
            if layer.self_attn.v_proj.out_features == layer.self_attn.o_proj.in_features:
                pairs.append((place, "self_attn.v_proj", ["self_attn.o_proj"]))
        if has_mlp(layer):
            pairs.append((place, "post_attention_layernorm", ["mlp.gate_proj", "mlp.up_proj"]))
            pairs.append((place, "mlp.up_proj", ["mlp.down_proj"]))
    sizes = by_group(model)
    return [
        {"smooth_layer": place + scaled, "balance_layers": [place + part for part in parts]}
        for place, scaled, parts in pairs
        if all(sizes[place + part] for part in parts)
    ]
