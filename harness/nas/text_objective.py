"""Calibration text as an objective.

log-likelihood of its tokens, and the divergence from the dense model's predictions.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from torch import Tensor
from transformers import PreTrainedModel

from harness.evaluation.batches import pack
from harness.evaluation.trie import Request
from harness.nas.divergence import Divergence
from harness.nas.fitness import STAGES, Chunk, edges
from harness.nas.tally import Tally


def chunks(
    model: PreTrainedModel, tokens: Tensor, objective: str, ends: Sequence[float] = STAGES, *, dense: Any = None
) -> list[Chunk]:
    """Return windows `tokens` (samples, length) in nested chunks, scored by `objective`.

    That is "perplexity", or "kl" to `dense`, by default to `model` as it is now.
    """
    parts = [tokens[start:stop] for start, stop in pairwise(edges(len(tokens), ends))]
    return [_chunk(model, dense or model, part, objective) for part in parts if len(part)]


def _chunk(model: PreTrainedModel, dense: PreTrainedModel, tokens: Tensor, objective: str) -> Chunk:
    rows = tokens.tolist()
    batches = pack([Request(tuple(row[:1]), tuple(row[1:])) for row in rows])
    count = len(rows) * (tokens.shape[1] - 1)

    def likely(values: np.ndarray) -> Tally:
        return {"text": {"n": float(count), "perplexity": -float(values.sum())}}

    def both(values: np.ndarray) -> Tally:
        return {"text": {"n": float(count), "perplexity": -float(values[:, 0].sum()), "kl": float(values[:, 1].sum())}}

    if objective == "perplexity":
        return Chunk(batches, len(rows), likely, frozenset({"perplexity"}))
    return Chunk(batches, len(rows), both, frozenset({"perplexity", "kl"}), Divergence(dense, model, batches))
