"""Save and reload model folders: safetensors, configuration, tokenizer; exact to the bit."""

from __future__ import annotations

import contextlib
import json
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    CompressedTensorsConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from harness.models import per_layer, sliced  # noqa: F401  (makes their checkpoints loadable)

TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "chat_template.jinja",
    "tokenizer.model",
    "vocab.json",
    "merges.txt",
    "added_tokens.json",
)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silence transformers' progress bars and notices while loading and saving."""
    level = transformers.logging.get_verbosity()
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    logging.getLogger("torchao").setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            for words in (
                "Attempting to save a model with offloaded",
                "You passed `quantization_config` or equivalent",
            ):
                warnings.filterwarnings("ignore", words)  # of models that recipes quantized; both are as we want it
            yield
    finally:
        transformers.logging.set_verbosity(level)


def load(folder: Path, device: str = "cpu") -> PreTrainedModel:
    """Return the model in `folder` in its stored dtype, in eval mode, on `device` ("auto" spreads it over devices)."""
    with quiet():
        where: dict[str, Any] = {"device_map": device} if device != "cpu" else {}
        if quantization(folder) == "compressed-tensors":  # packed weights would unpack at the first pass, unasked
            where["quantization_config"] = CompressedTensorsConfig(dequantize=True)
        model = AutoModelForCausalLM.from_pretrained(folder, dtype="auto", **where)
    return model.eval()


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
    """Copy the tokenizer's files as they are: saving anew may change them."""
    for name in TOKENIZER_FILES:
        if (source / name).is_file():
            (target / name).write_bytes((source / name).read_bytes())


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


def family(folder: Path) -> str:
    """Return the decoder family that `folder` says it holds, without the per-layer prefix; a sliced one is its own."""
    return json.loads((folder / "config.json").read_text()).get("model_type", "").removeprefix("per_layer_")
