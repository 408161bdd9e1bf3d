"""A checkpoint's tokenizer in the words of a GGUF header."""

from __future__ import annotations

import json
from typing import Any

from transformers import PreTrainedTokenizerBase

from harness.models.gguf_tokenizer import CONTROL, SPLITS, USER_DEFINED

NORMAL = 1  # types of tokens, beside those that the reader knows
UNUSED = 5
NO_MERGES = ["[PAD] [PAD]"]  # llama.cpp wants one; words begin as single letters, so this pair never meets
# Of several names for one way of cutting words, the one that llama.cpp's own converter writes.
NAMES = {SPLITS[name]: name for name in ("gpt-2", "smollm", "llama-bpe", "qwen2")}


def header(tokenizer: PreTrainedTokenizerBase, size: int) -> dict[str, Any]:
    """Return the `tokenizer.*` keys of a vocabulary of `size` rows.

    ValueError for a kind that is not written here.
    """
    backend = json.loads(tokenizer.backend_tokenizer.to_str())
    model = backend["model"]
    if model["type"] != "BPE" or model.get("byte_fallback") or backend.get("normalizer"):
        raise ValueError(
            f"the tokenizer is no byte-level BPE ({model['type']}"
            f"{', byte fallback' if model.get('byte_fallback') else ''}), and no other is written into a GGUF file here"
        )
    vocabulary = tokenizer.get_vocab()
    tokens = [f"[PAD{index}]" for index in range(size)]
    kinds = [UNUSED] * size
    for token, index in vocabulary.items():
        tokens[index], kinds[index] = token, NORMAL
    for added in backend["added_tokens"]:
        kinds[added["id"]] = CONTROL if added["special"] else USER_DEFINED
    merges = [each if isinstance(each, str) else " ".join(each) for each in model["merges"]]
    begins = tokenizer("a").input_ids[:1] == [tokenizer.bos_token_id] and tokenizer.bos_token_id is not None
    keys: dict[str, Any] = {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": words(backend["pre_tokenizer"], bool(model.get("ignore_merges"))),
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": kinds,
        "tokenizer.ggml.merges": merges or NO_MERGES,
        "tokenizer.ggml.add_bos_token": begins,
    }
    ids = {"bos": "bos", "eos": "eos", "unk": "unknown", "pad": "padding"}
    keys |= {
        f"tokenizer.ggml.{theirs}_token_id": index
        for ours, theirs in ids.items()
        if (index := getattr(tokenizer, f"{ours}_token_id")) is not None
    }
    return keys | ({"tokenizer.chat_template": tokenizer.chat_template} if tokenizer.chat_template else {})


def words(pre: dict[str, Any] | None, whole: bool) -> str:
    """Return llama.cpp's name for how words are cut before merges; `whole`: a word that is a token is one."""
    stages = (pre or {}).get("pretokenizers") or ([pre] if pre else [])
    cuts: list[str] = []
    for stage in stages:
        if stage["type"] == "Split" and stage["behavior"].lower() == "isolated" and "Regex" in stage["pattern"]:
            cuts.append(stage["pattern"]["Regex"])
        elif stage["type"] == "Digits" and stage["individual_digits"]:
            cuts.append(r"\p{N}")
        elif stage["type"] == "ByteLevel" and not stage["add_prefix_space"]:
            cuts += list(SPLITS["gpt-2"]) if stage["use_regex"] else []
        else:
            cuts.append(f"{stage['type']} as this tokenizer has it")
    name = NAMES.get(tuple(cuts))
    if name is None or whole != (name == "llama-bpe"):
        raise ValueError(
            f"the tokenizer cuts words by {' then '.join(cuts) or 'nothing'}, for which no name of llama.cpp is known here"
        )
    return name


def same_tokens(tokenizer: PreTrainedTokenizerBase, theirs: Any, text: str) -> str:
    """Return how ids of `text` by `theirs` (text to ids) differ from the tokenizer's own.

    Empty where they are equal.
    """
    ours = tokenizer(text, add_special_tokens=False).input_ids
    other = theirs(text)
    if ours == other:
        return ""
    place = next(
        (n for n, pair in enumerate(zip(ours, other, strict=False)) if pair[0] != pair[1]), min(len(ours), len(other))
    )
    return (
        f"token {place} of {text[:40]!r} is {ours[place : place + 3]} here and {other[place : place + 3]} in llama.cpp"
    )
