"""Rotary frequencies as a GGUF file scales them, which transformers leaves out.

Llama 3's, YaRN, linear.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from transformers import PreTrainedConfig

LLAMA3 = {"low_freq_factor": 1.0, "high_freq_factor": 4.0}  # of every published Llama 3.x
CLOSE = 1e-3  # relative; factors are stored in float32
OTHERS = ("rope_factors_long.weight", "rope_factors_short.weight")
YARN = {"yarn_beta_fast": "beta_fast", "yarn_beta_slow": "beta_slow"}


def scaled(config: PreTrainedConfig, file: Any) -> None:
    """Write the file's scaling into `config.rope_parameters`.

    ValueError naming one that there is no word for.
    """
    from harness.models.gguf_model import field

    tensors = {str(tensor.name): tensor for tensor in file.tensors}
    if other := next((name for name in OTHERS if name in tensors), None):
        if getattr(config, "rope_parameters", None) and config.rope_parameters.get("rope_type") != "longrope":
            raise ValueError(f"the GGUF file scales rotary frequencies by {other}, which is not read: {WAY_OUT}")
        return
    kind = field(file, "{arch}.rope.scaling.type") or "none"
    factor = field(file, "{arch}.rope.scaling.factor") or field(file, "{arch}.rope.scale_linear")
    if kind == "none" and factor and factor != 1:
        kind = "linear"  # as llama.cpp takes a factor without a type
    parameters = dict(getattr(config, "rope_parameters", None) or {})
    if parameters.get("rope_type", "default") != "default":
        return  # transformers reads it of this architecture
    if kind == "linear" and factor and factor != 1:
        parameters |= {"rope_type": "linear", "factor": float(factor)}
    elif kind == "yarn":
        parameters |= yarn(file, config, float(factor or 1.0))
    elif kind not in ("none", "linear"):
        raise ValueError(f"the GGUF file scales rotary frequencies by {kind}, which is not read: {WAY_OUT}")
    if "rope_freqs.weight" in tensors:
        factors = np.asarray(tensors["rope_freqs.weight"].data, dtype=np.float64)
        if not np.allclose(factors, 1.0, rtol=CLOSE):
            if parameters.get("rope_type", "default") != "default":
                raise ValueError(
                    f"the GGUF file scales rotary frequencies twice ({kind}, rope_freqs.weight): {WAY_OUT}"
                )
            parameters |= llama3(factors, float(parameters["rope_theta"]), config.max_position_embeddings)
    config.rope_parameters = parameters


WAY_OUT = "use the model's safetensors folder"


def yarn(file: Any, config: PreTrainedConfig, factor: float) -> dict[str, Any]:
    """Return transformers' words for YaRN; ValueError for settings of llama.cpp that it has none for."""
    from harness.models.gguf_model import field

    for name in ("yarn_log_multiplier", "yarn_attn_factor", "yarn_ext_factor", "attn_factor"):
        value = field(file, f"{{arch}}.rope.scaling.{name}")
        if value is not None and value not in ((0.0,) if name == "yarn_log_multiplier" else (1.0,)):
            raise ValueError(f"the GGUF file says rope.scaling.{name}={value}, which is not read: {WAY_OUT}")
    original = field(file, "{arch}.rope.scaling.original_context_length")
    scaling: dict[str, Any] = {"rope_type": "yarn", "factor": factor}
    scaling["original_max_position_embeddings"] = int(original or config.max_position_embeddings / factor)
    for name, word in YARN.items():
        if (value := field(file, f"{{arch}}.rope.scaling.{name}")) is not None:
            scaling[word] = float(value)
    return scaling


def llama3(factors: np.ndarray, theta: float, context: int) -> dict[str, Any]:
    """Return the parameters of Llama 3's scaling that give `factors` (head_dim / 2,).

    ValueError where none do.
    """
    factor = float(factors.max())
    halves = [2**power for power in range(9, 21)]
    for original in dict.fromkeys([8192, round(context / factor), *halves]):
        scaling = {"factor": round(factor, 4), "original_max_position_embeddings": int(original), **LLAMA3}
        if np.allclose(factors, llama3_factors(len(factors), theta, **scaling), rtol=CLOSE):
            return {"rope_type": "llama3", **scaling}
    raise ValueError(f"the GGUF file's rope_freqs.weight is no scaling of Llama 3's kind: {WAY_OUT}")


def llama3_factors(
    count: int,
    theta: float,
    *,
    factor: float,
    original_max_position_embeddings: float,
    low_freq_factor: float,
    high_freq_factor: float,
) -> np.ndarray:
    """Return by what each of `count` frequencies is divided.

    1 for short waves, `factor` for long ones, a blend between.
    """
    waves = 2 * math.pi * theta ** (np.arange(count) / count)
    turns = original_max_position_embeddings / waves  # in the context that the model was trained on first
    smooth = ((turns - low_freq_factor) / (high_freq_factor - low_freq_factor)).clip(0, 1)
    return 1 / ((1 - smooth) / factor + smooth)
