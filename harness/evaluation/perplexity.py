"""Token-level perplexity over windows, the protocol of pruning papers (stride equals window)."""

from __future__ import annotations

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from harness import progress
from harness.evaluation.scorer import score
from harness.evaluation.trie import Request, pack


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


def window_losses(model: PreTrainedModel, requests: list[Request]) -> list[float]:
    """Return the negative log-likelihood in nats of each window."""
    losses = []
    for request in progress.track(requests, "windows"):
        total, _ = score(model, pack([request]), 1)
        losses.append(-total.item())
    return losses


def perplexity(losses: list[float], tokens: int) -> float:
    """Return exp of the mean loss per scored token."""
    return float(torch.tensor(losses, dtype=torch.float64).sum().div(tokens).exp())
