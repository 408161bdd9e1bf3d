"""The tokenizer that a GGUF file describes.

Its own vocabulary, merges, splitting and special tokens, and checked to be it.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import AutoTokenizer, PreTrainedTokenizerBase, PreTrainedTokenizerFast

CONTROL, USER_DEFINED = 3, 4  # types of tokens
CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
# What words are cut into before merges, by the file's name for it: regular expressions as the models' own tokenizers have them.
GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
LLAMA3 = CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
QWEN2 = CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
SPLITS: dict[str, tuple[str, ...]] = {
    "gpt-2": (GPT2,),
    "default": (GPT2,),
    **dict.fromkeys(("smollm", "starcoder", "refact", "command-r", "codeshell", "exaone"), (r"\p{N}", GPT2)),
    **dict.fromkeys(("llama-bpe", "llama3", "llama-v3", "smaug-bpe"), (LLAMA3,)),
    **dict.fromkeys(("qwen2", "stablelm2", "deepseek-r1-qwen"), (QWEN2,)),
}
WHOLE_WORDS = ("llama-bpe", "llama3", "llama-v3")  # a word that is a token is one, whatever its merges say
SAMPLE = (
    "The cat's 33 mats, don't I'LL?\n\n  12 x  7\t3.14159\r\n"
    "Zürich Größe façade Ελληνικά Русский 日本語 中文 हिन्दी العربية עברית 한국어 🎉👩‍👩‍👧 \u00a0\u2003— «x» ½ ٣"
)


def tokenizer(file: Any, path: Path) -> PreTrainedTokenizerBase:
    """Return the file's tokenizer; ValueError where it is of no kind that is rebuilt exactly."""
    from harness.models.gguf_model import field

    kind = field(file, "tokenizer.ggml.model")
    tokens = [str(token) for token in field(file, "tokenizer.ggml.tokens") or ()]
    if not tokens:
        raise ValueError("the GGUF file holds no tokenizer")
    theirs = partial(AutoTokenizer.from_pretrained, path.parent, gguf_file=path.name)
    made = byte_level(file, tokens) if kind == "gpt2" else theirs()
    for name, key in (("bos", "bos"), ("eos", "eos"), ("unk", "unknown"), ("pad", "padding")):
        index = field(file, f"tokenizer.ggml.{key}_token_id")
        setattr(made, f"{name}_token", None if index is None else tokens[index])
    adds = field(file, "tokenizer.ggml.add_bos_token")
    begins = (kind == "llama") if adds is None else adds
    start = made.bos_token if begins else None
    made.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{start} $A" if start else "$A",
        pair=f"{start} $A {start} $B" if start else "$A $B",
        special_tokens=[(start, made.bos_token_id)] if start else [],
    )
    made.chat_template = field(file, "tokenizer.chat_template")
    check(made, tokens)
    return made


def byte_level(file: Any, tokens: list[str]) -> PreTrainedTokenizerFast:
    """Return a byte-level BPE of the file's tokens and merges.

    Words are cut as the file's `tokenizer.ggml.pre` says.
    """
    from harness.models.gguf_model import field

    pre = field(file, "tokenizer.ggml.pre") or "default"
    if pre not in SPLITS:
        raise ValueError(
            f"the GGUF file's tokenizer cuts words as {pre!r}, which is not known here ({', '.join(sorted(SPLITS))}): "
            "use the model's safetensors folder"
        )
    merges = [(left, right) for left, _, right in map(_halves, field(file, "tokenizer.ggml.merges") or ())]
    vocabulary = {token: index for index, token in enumerate(tokens)}
    backend = Tokenizer(models.BPE(vocab=vocabulary, merges=merges, ignore_merges=pre in WHOLE_WORDS))
    cuts = [pre_tokenizers.Split(Regex(words), "isolated") for words in SPLITS[pre]]
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [*cuts, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    backend.decoder = decoders.ByteLevel()
    kinds = field(file, "tokenizer.ggml.token_type") or ()
    backend.add_special_tokens(_of(tokens, kinds, CONTROL))
    backend.add_tokens(_of(tokens, kinds, USER_DEFINED))
    return PreTrainedTokenizerFast(tokenizer_object=backend, clean_up_tokenization_spaces=False)


def _halves(merge: str) -> tuple[str, str, str]:
    return merge.partition(" ")


def _of(tokens: list[str], kinds: Any, wanted: int) -> list[AddedToken]:
    special = wanted == CONTROL
    matching = [token for token, kind in zip(tokens, kinds, strict=False) if kind == wanted]
    return [AddedToken(token, normalized=False, special=special) for token in matching]


def check(made: PreTrainedTokenizerBase, tokens: list[str]) -> None:
    """Raise ValueError where a token has another id than in the file.

    Or where text does not come back from its tokens.
    """
    vocabulary = made.get_vocab()
    for index, token in enumerate(tokens):
        if vocabulary.get(token) != index:
            raise ValueError(f"the GGUF file's token {token!r} is {index}, but {vocabulary.get(token)} once imported")
    ids = made(SAMPLE, add_special_tokens=False).input_ids
    if made.unk_token_id not in ids and (back := made.decode(ids)) != SAMPLE:
        raise ValueError(f"the tokenizer of the GGUF file does not give text back: {back!r} instead of {SAMPLE!r}")
