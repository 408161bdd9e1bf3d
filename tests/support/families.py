"""A small random model of every decoder family that the harness takes."""

from __future__ import annotations

from typing import Any

from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING

from harness.families.all_families import families

SIZES = {
    "vocab_size": 258,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 4,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "head_dim": 8,
    "max_position_embeddings": 256,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "pad_token_id": 1,
    "initializer_range": 0.1,
}
FAMILIES: dict[str, tuple[Any, Any]] = {
    name: (MODEL_FOR_CAUSAL_LM_MAPPING[CONFIG_MAPPING[name]], CONFIG_MAPPING[name]) for name in families()
}
