"""Token-level perplexity over windows, the protocol of pruning papers (stride equals window)."""

from __future__ import annotations

from transformers import PreTrainedTokenizerBase

from harness.evaluation.trie import Request


def windows(documents: list[str], tokenizer: PreTrainedTokenizerBase, length: int) -> list[Request]:
    """Return consecutive windows of `length` tokens of the joined text; each scores all but its first token.

    Rows are joined as published code does: lines of a page stay lines, rows are separated by an empty line.
    """
    lines = [line for document in documents for line in (document.split("\n") if "\n" in document else [document])]
    ids = tokenizer("\n\n".join(lines), add_special_tokens=False).input_ids
    count = len(ids) // length
    if not count:
        raise ValueError(f"the text has {len(ids)} tokens, less than one window of {length}")
    return [
        Request(tuple(ids[start : start + 1]), tuple(ids[start + 1 : start + length]))
        for start in range(0, count * length, length)
    ]
