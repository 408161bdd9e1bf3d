"""A model's vocabulary and width, before a weight is read.

And whether its head is its embeddings.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.bytes_budget import Outline
from harness.models import accepted, counted
from harness.models.source import ModelSource

EMBEDDED = (49152, 576, True, 30, 8192 * 64)  # SmolLM2-135M
RANDOM = (258, 64, True, 6, 2048 * 8)


def outline(source: ModelSource) -> Outline:
    """Return a model's outline; ValueError where nothing tells of it before the model is imported."""
    if source.kind == "embedded":
        return Outline(source.parameters, *EMBEDDED)
    if source.kind == "random":
        return Outline(source.parameters, *RANDOM)
    if source.kind == "folder":
        config: dict[str, Any] = accepted.read_json(Path(source.place) / "config.json")
        config = config.get("text_config") or config
        return Outline(
            counted.in_folder(Path(source.place)),
            int(config["vocab_size"]),
            int(config["hidden_size"]),
            bool(config.get("tie_word_embeddings", False)),
            int(config.get("num_hidden_layers") or 0),
            int(config.get("max_position_embeddings") or 0) * head_dim(config),
        )
    raise ValueError(
        f"bytes: how large a {source.kind} model's embeddings are is not known here; use a folder, or budgets="
    )


def head_dim(config: Mapping[str, Any]) -> int:
    """Return the size of an attention head, as config.json says or as its hidden size is divided."""
    return int(config.get("head_dim") or int(config["hidden_size"]) // int(config.get("num_attention_heads") or 1))
