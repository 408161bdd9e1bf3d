"""Calibration text as an objective: log-likelihood of its tokens, and the divergence from the dense model's predictions."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel

from harness.evaluation.attention import Carry, packed
from harness.evaluation.batches import Batch, pack
from harness.evaluation.scorer import read
from harness.evaluation.trie import Request
from harness.nas.fitness import STAGES, Chunk
from harness.nas.tally import Tally

POSITIONS = 256  # whose logits exist at once


def chunks(model: PreTrainedModel, tokens: Tensor, objective: str, ends: Sequence[float] = STAGES) -> list[Chunk]:
    """Return windows `tokens` (samples, length) in nested chunks, scored by "perplexity" or "kl" to `model` as it is now."""
    edges = [0, *(max(index + 1, round(end * len(tokens))) for index, end in enumerate(ends))]
    parts = [tokens[start:stop] for start, stop in pairwise(edges)]
    return [_chunk(model, part, objective) for part in parts if len(part)]


def _chunk(model: PreTrainedModel, tokens: Tensor, objective: str) -> Chunk:
    rows = tokens.tolist()
    batches = pack([Request(tuple(row[:1]), tuple(row[1:])) for row in rows])
    count = len(rows) * (tokens.shape[1] - 1)

    def total(values: np.ndarray) -> Tally:
        return {"text": {"n": float(count), objective: -float(values.sum())}}

    return Chunk(batches, len(rows), total, Divergence(model, batches) if objective == "kl" else None)


class Divergence:
    """Judges a sub-network's states by -KL(dense || sub-network) at each position, in nats.

    The dense model's last hidden states wait in memory, its logits are made anew a few positions at a time.
    """

    @torch.inference_mode()
    def __init__(self, model: PreTrainedModel, batches: Sequence[Batch]) -> None:
        carry: Carry = {}
        self.head = model.get_output_embeddings().weight  # the whole of it: sub-networks may use a part
        self.known: dict[int, Tensor] = {}
        for batch in batches:
            with packed(model):
                self.known[id(batch)] = read(model, batch, carry)[batch.scored]  # (scores, hidden)

    def __call__(self, model: PreTrainedModel, batch: Batch, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """Return (-KL (pairs,) float64, its finiteness (pairs,)) on the CPU."""
        found = []
        for wanted, mine in zip(
            self.known[id(batch)].split(POSITIONS), hidden[batch.scored].split(POSITIONS), strict=True
        ):
            teacher = (wanted @ self.head.T).float().log_softmax(-1)
            student = model.get_output_embeddings()(mine).float().log_softmax(-1)
            found.append((teacher.exp() * (student - teacher)).sum(-1).double().cpu())
        values = torch.cat(found)[batch.which]
        return values, values.isfinite()
