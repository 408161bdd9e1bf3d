"""How far a sub-network's predictions are from the dense model's, at the positions that are scored."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import PreTrainedModel

from harness.evaluation.attention import Carry, packed
from harness.evaluation.batches import Batch
from harness.evaluation.scorer import read

POSITIONS = 64  # whose logits exist at once: 256 took half as long again, out of the cache


class Divergence:
    """Judges a sub-network's states by log-likelihood and KL(dense || sub-network) at each scored position, in nats.

    The dense model's last hidden states wait in memory, its logits are made anew a few positions at a time.
    """

    @torch.inference_mode()
    def __init__(self, dense: PreTrainedModel, batches: Sequence[Batch]) -> None:
        carry: Carry = {}
        self.head = dense.get_output_embeddings().weight  # the whole of it: sub-networks may use a part
        self.known: dict[int, Tensor] = {}
        for batch in batches:
            with packed(dense):
                self.known[id(batch)] = read(dense, batch, carry)[batch.scored]  # (scores, hidden)

    def __call__(self, model: PreTrainedModel, batch: Batch, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """Return (log-likelihood and KL (pairs, 2) float64, whether the target is the most likely token (pairs,)), on the CPU."""
        edges = torch.searchsorted(batch.which, torch.arange(0, len(batch.scored) + POSITIONS, POSITIONS)).tolist()
        found, best = [], []
        whole, mine = self.known[id(batch)].split(POSITIONS), hidden[batch.scored].split(POSITIONS)
        for index, (one, other) in enumerate(zip(whole, mine, strict=True)):
            teacher = (one @ self.head.T).float().log_softmax(-1)  # (positions, vocabulary)
            student = model.get_output_embeddings()(other).float().log_softmax(-1)
            divergence = (teacher.exp() * (teacher - student)).sum(-1)
            part = slice(edges[index], edges[index + 1])
            where, targets = (
                (batch.which[part] - index * POSITIONS).to(student.device),
                batch.targets[part].to(student.device),
            )
            found.append(torch.stack([student[where, targets], divergence[where]], dim=-1).double().cpu())
            best.append((student.argmax(dim=-1)[where] == targets).cpu())
        return torch.cat(found), torch.cat(best)
