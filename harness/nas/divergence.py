"""How far a sub-network's predictions are from the dense model's, at the positions that are scored."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from harness.evaluation.attention import Carry, packed
from harness.evaluation.batches import Batch
from harness.evaluation.scorer import is_argmax, read

POSITIONS = 64  # whose logits exist at once: 256 took half as long again, out of the cache
ROWS = 4096  # of the head that are widened to float32 at once


class Divergence:
    """Judges a sub-network's states by log-likelihood and KL(dense || sub-network), in nats.

    At each scored position.

    With p the dense model's predictions and W the head (no family has a bias there), sum_v p_v log q_v =
    h (sum_v p_v W_v) - logsumexp(W h): a position's expected row of the head and its entropy are all that must be kept of
    the dense model, and no candidate needs its logits. The head is that of `network`, whose stream may be in another order.
    """

    @torch.inference_mode()
    def __init__(self, dense: PreTrainedModel, network: PreTrainedModel, batches: Sequence[Batch]) -> None:
        carry: Carry = {}
        self.known: dict[int, tuple[Tensor, Tensor]] = {}
        for batch in batches:
            with packed(dense):
                states = read(dense, batch, carry)[batch.scored]  # (scores, hidden)
            heads = dense.get_output_embeddings(), network.get_output_embeddings()
            parts = [_kept(*heads, part) for part in states.split(POSITIONS)]
            rows, constants = (torch.cat(each) for each in zip(*parts, strict=True))
            self.known[id(batch)] = rows, constants

    def __call__(self, model: PreTrainedModel, batch: Batch, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """Return log-likelihood and KL (pairs, 2) float64, on the CPU.

        And whether the target is the most likely token (pairs,).
        """
        edges = torch.searchsorted(batch.which, torch.arange(0, len(batch.scored) + POSITIONS, POSITIONS)).tolist()
        likelihoods, best = [], []
        parts = zip(*(each.split(POSITIONS) for each in (*self.known[id(batch)], hidden[batch.scored])), strict=True)
        for index, (rows, constants, states) in enumerate(parts):
            logits = model.get_output_embeddings()(states).float()  # (positions, vocabulary)
            total = logits.logsumexp(-1)
            agreed = (states.float() * rows[:, : states.shape[-1]]).sum(-1)  # a narrower stream uses a part of the head
            divergence = constants - agreed + total
            part = slice(edges[index], edges[index + 1])
            where = (batch.which[part] - index * POSITIONS).to(logits.device)
            targets = batch.targets[part].to(logits.device)
            likelihood = logits[where, targets] - total[where]
            likelihoods.append(torch.stack([likelihood, divergence[where]], dim=-1).double().cpu())
            best.append(is_argmax(logits, where, targets).cpu())
        return torch.cat(likelihoods), torch.cat(best)


def _kept(dense: nn.Module, head: nn.Module, states: Tensor) -> tuple[Tensor, Tensor]:
    """Return the expected row of `head` (positions, hidden) and sum_v p_v log p_v (positions,).

    Both are float32.
    """
    predicted = dense(states).float().log_softmax(-1)  # (positions, vocabulary)
    chances = predicted.exp()
    rows = torch.zeros(len(states), head.in_features, dtype=torch.float32, device=states.device)
    for part, weights in zip(chances.split(ROWS, dim=1), head.weight.split(ROWS), strict=True):
        rows += part @ weights.float()
    return rows, (chances * predicted).sum(-1)
