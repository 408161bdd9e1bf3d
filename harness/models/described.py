"""What a model says of itself before a weight is read.

Its decoder family, and how many positions it has.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from harness.models import accepted, counted, embedded
from harness.models.source import ModelSource

POSITIONS = ("n_positions", "max_position_embeddings", "n_ctx")  # in the order in which lm-eval asks


class Description(NamedTuple):
    """`family` "" and `positions` None: it does not say.

    `window` are the tokens back that some layer attends to, 0 where all attend to all; `rotation` is the kind of scaling of rotary
    angles, `activation` that of the MLP.
    """

    family: str = ""
    positions: int | None = None
    window: int = 0
    rotation: str = "default"
    activation: str = "silu"


def described(source: ModelSource) -> Description:
    """Return what configuration or file header tell.

    Of a hub's model from its config.json, where that is to be had.
    """
    if source.kind == "embedded":
        return Description("llama", embedded.POSITIONS)
    if source.kind == "random":
        return Description("llama", 2048)
    if source.kind == "gguf":
        header = counted.in_gguf(Path(source.place))
        return Description(header.architecture, header.context)
    if source.kind == "folder":
        return of_config(accepted.read_json(Path(source.place) / "config.json"))
    return _of_hub(source)


def of_config(config: Mapping[str, Any]) -> Description:
    """Return what a config.json tells.

    Of a text model within a larger one, what its part tells of positions.
    """
    text = config.get("text_config") or config
    family = str(config.get("model_type") or "").removeprefix("per_layer_")
    rope = text.get("rope_parameters") or text.get("rope_scaling") or {}
    return Description(
        family,
        next((int(text[name]) for name in POSITIONS if text.get(name)), None),
        window=window(text),
        rotation=str(rope.get("rope_type") or rope.get("type") or "default"),
        activation=str(text.get("hidden_act") or "silu"),
    )


def window(config: Mapping[str, Any]) -> int:
    """Return how many tokens back some layer attends, as config.json says; 0 where all attend to all."""
    kinds = config.get("layer_types")
    used = config.get("use_sliding_window", not str(config.get("model_type")).startswith("qwen"))
    if not used or (kinds and "sliding_attention" not in kinds):
        return 0
    return int(config.get("sliding_window") or 0)


def _of_hub(source: ModelSource) -> Description:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        file = hf_hub_download(source.place, "config.json", revision=source.content)
    except LocalEntryNotFoundError:  # out of reach and not in the cache: the import will say so, should it still be
        return Description()
    except HfHubHTTPError as error:  # a gated model says what it is, and gives no file
        raise ValueError(
            f"model={source.place}: the hub answered {error.response.status_code} for its config.json; use a local folder"
        ) from None
    return of_config(accepted.read_json(Path(file)))
