"""Save and reload model folders: safetensors, configuration, tokenizer; exact to the bit."""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Iterator
from pathlib import Path

import torch
import transformers
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

import harness.models.per_layer as _registered  # noqa: F401  (makes per-layer checkpoints loadable)

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
    """Silence transformers' progress bars and notices while loading."""
    level = transformers.logging.get_verbosity()
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    logging.getLogger("torchao").setLevel(logging.ERROR)
    try:
        yield
    finally:
        transformers.logging.set_verbosity(level)


def load(folder: Path, device: str = "cpu") -> PreTrainedModel:
    """Return the model in `folder` in its stored dtype, in eval mode, on `device` ("auto" spreads it over devices)."""
    with quiet():
        where = {"device_map": device} if device != "cpu" else {}
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


def family(folder: Path) -> str:
    """Return the decoder family that `folder` says it holds, without the per-layer prefix."""
    return json.loads((folder / "config.json").read_text()).get("model_type", "").removeprefix("per_layer_")
