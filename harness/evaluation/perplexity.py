"""Token-level perplexity over windows, the protocol of pruning papers (stride equals window)."""

from __future__ import annotations

from transformers import PreTrainedTokenizerBase

from harness.evaluation.trie import Request


def windows(text: str, tokenizer: PreTrainedTokenizerBase, length: int) -> list[Request]:
    """Return consecutive windows of `length` tokens of the text; each scores all but its first token."""
    ids = tokenizer(text, add_special_tokens=False).input_ids
    count = len(ids) // length
    if not count:
        raise ValueError(f"the text has {len(ids)} tokens, less than one window of {length}")
    return [
        Request(tuple(ids[start : start + 1]), tuple(ids[start + 1 : start + length]))
        for start in range(0, count * length, length)
    ]
