"""Save and reload model folders: safetensors, configuration, tokenizer; exact to the bit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from transformers import AutoTokenizer, CompressedTensorsConfig, PreTrainedModel, PreTrainedTokenizerBase

from harness.models.loading import loaded, quiet

MODELS_OWN = ("config.json", "generation_config.json", "model.safetensors.index.json")  # beside weights and code


def load(folder: Path, device: str = "cpu") -> PreTrainedModel:
    """Return the model in `folder` in its stored dtype, in eval mode, on `device`.

    "auto" spreads it over devices.
    """
    where: dict[str, Any] = {"device_map": device} if device != "cpu" else {}
    if dequantized(folder):  # packed weights would unpack at the first pass, unasked
        where["quantization_config"] = CompressedTensorsConfig(dequantize=True)
    return loaded(folder, dtype="auto", **where).eval()


def load_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """Return the tokenizer stored beside the model."""
    with quiet():
        tokenizer = AutoTokenizer.from_pretrained(folder)
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def save(model: PreTrainedModel, folder: Path, tokenizer_from: Path) -> None:
    """Write a folder that from_pretrained reloads with the same bits, tokenizer included."""
    with quiet():
        model.save_pretrained(folder)
    copy_tokenizer(tokenizer_from, folder)


def copy_tokenizer(source: Path, target: Path) -> None:
    """Copy the tokenizer's files as they are, whatever their kind is called: saving anew may change them."""
    if source == target:
        return
    for path in source.iterdir():
        if path.is_file() and path.name not in MODELS_OWN and path.suffix not in (".safetensors", ".py"):
            (target / path.name).write_bytes(path.read_bytes())


def size_on_disk(folder: Path) -> int:
    """Return the bytes of the weight files."""
    return sum(path.stat().st_size for path in folder.glob("*.safetensors"))


def pick_device(asked: str) -> str:
    """Return "cuda" where "auto" finds one, else "cpu"; "auto" over several devices spreads the model."""
    if asked != "auto":
        return asked
    if not torch.cuda.is_available():
        return "cpu"
    return "auto" if torch.cuda.device_count() > 1 else "cuda"


def quantization(folder: Path) -> str:
    """Return which library's quantization `folder` says its weights are in; empty for none."""
    return (json.loads((folder / "config.json").read_text()).get("quantization_config") or {}).get("quant_method", "")


def dtype(folder: Path) -> str:
    """Return the dtype that `folder` says its weights are in, such as "float32"; empty where it says none."""
    config = json.loads((folder / "config.json").read_text())
    return str(config.get("dtype") or config.get("torch_dtype") or "").removeprefix("torch.")


def dequantized(folder: Path) -> bool:
    """Tell whether `load` turns the quantized weights in `folder` into floating point.

    Computing with them saves nothing then.
    """
    return quantization(folder) == "compressed-tensors"


def family(folder: Path) -> str:
    """Return the decoder family that `folder` says it holds, without the per-layer prefix.

    A sliced one is its own.
    """
    return json.loads((folder / "config.json").read_text()).get("model_type", "").removeprefix("per_layer_")
