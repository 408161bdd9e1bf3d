"""Which model folders are taken, as far as their files tell before a weight is read.

The plan refuses the others.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from harness.models.counted import unreadable
from harness.models.files import SAFE as WEIGHTS
from harness.models.files import SHARDS

ADAPTER = "adapter_config.json"
TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "spiece.model", "tekken.json")
PASSES = {"return_dict": True, "output_hidden_states": False, "output_attentions": False}
MERGE = (
    "merge it into its base first: PeftModel.from_pretrained(base, folder).merge_and_unload().save_pretrained(merged)"
)


def check_names(what: str, names: Collection[str]) -> None:
    """Raise ValueError where files of these names are no whole model.

    One that is loaded without pickles and adapters.
    """
    if ADAPTER in names:
        raise ValueError(f"{what}: a peft adapter lies in it ({ADAPTER}); {MERGE}")
    if "config.json" not in names:
        raise ValueError(f"{what}: it has no config.json, so it is no transformers checkpoint")
    if WEIGHTS in names or SHARDS in names:
        return
    if pickled := sorted(name for name in names if name.endswith((".bin", ".pt", ".pth"))):
        raise ValueError(
            f"{what}: pickled weights ({pickled[0]}) are not loaded, and there is no {WEIGHTS}: load it with transformers "
            "and save_pretrained it, which writes safetensors"
        )
    others = sorted(name for name in names if name.endswith(".safetensors"))
    told = f", and {others[0]} is not what from_pretrained reads" if others else ""
    raise ValueError(f"{what}: it has no .safetensors weights ({WEIGHTS} or {SHARDS}){told}")


def check_folder(folder: Path) -> None:
    """Raise ValueError where a model folder's files say that it cannot be compared: reads no weights."""
    names = {path.name for path in folder.iterdir()}
    check_names(f"model={folder}", names)
    if WEIGHTS not in names:
        index = read_json(folder / SHARDS)
        lost = sorted({str(shard) for shard in index.get("weight_map", {}).values()} - names)
        if lost:
            raise ValueError(f"model={folder}: {SHARDS} names files that are not there: {', '.join(lost)}")
    for path in folder.glob("model*.safetensors"):
        check_header(path, str(folder))
    written = read_json(folder / "config.json")
    if elsewhere := written.get("transformers_weights"):
        raise ValueError(
            f"model={folder}: config.json has the weights read from {elsewhere}, not from {WEIGHTS}; remove transformers_weights "
            f"there and call the weights {WEIGHTS}"
        )
    check_config(f"model={folder}", written)
    if not names.intersection(TOKENIZERS):
        raise ValueError(f"model={folder}: it has no tokenizer ({', '.join(TOKENIZERS)})")


def check_header(path: Path, model: str) -> None:
    """Raise ValueError where a safetensors file is cut off or something else altogether."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy"):
            pass
    except SafetensorError as error:
        raise ValueError(f"model={model}: {path.name} {unreadable(path)}: {error}") from None


def check_config(what: str, config: Mapping[str, Any]) -> None:
    """Raise ValueError for a model that is quantized, or whose passes return something else than logits.

    Or keep something else.

    The dense row would not be dense, and methods fail on it or undo it; every measurement of memory would hold all layers' states.
    """
    text = config.get("text_config") or {}
    for name, usual in PASSES.items():
        if any(each.get(name, usual) not in (usual, None) for each in (config, text)):
            raise ValueError(
                f"{what}: config.json changes what a pass returns ({name}); set it to {str(usual).lower()} there"
            )
    if quantization := config.get("quantization_config") or text.get("quantization_config"):
        raise ValueError(
            f"{what}: it is quantized already ({quantization.get('quant_method', 'quantization_config')}); name the model that it was "
            "made from, and this one's quantizer in quantizers=[...]"
        )


def read_json(path: Path) -> dict[str, Any]:
    """Return the JSON object in `path`; ValueError where there is none."""
    try:
        content = json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(f"{path}: not JSON: {error}") from None
    if not isinstance(content, dict):
        raise ValueError(f"{path}: not a JSON object")
    return content
