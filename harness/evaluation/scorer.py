"""Score answers with every shared prefix read once.

A packed trie through the body, unique positions through the head.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from transformers import PreTrainedModel

from harness.evaluation.attention import Carry, packed
from harness.evaluation.batches import Batch

LOGITS = 16 * 2**20  # bytes of logits that exist at once: the head is the largest tensor


def score(model: PreTrainedModel, batches: Sequence[Batch], count: int) -> tuple[Tensor, Tensor]:
    """Return (log-likelihoods (count,) float64, greedy (count,) bool) of the requests that `batches` pack."""
    totals = torch.zeros(count, dtype=torch.float64)
    greedy = torch.ones(count, dtype=torch.bool)
    for batch, chosen, best in scored(model, batches):
        totals.index_add_(0, batch.owners, chosen)
        greedy[batch.owners[~best]] = False
    return totals, greedy


def scored(model: PreTrainedModel, batches: Sequence[Batch]) -> Iterator[tuple[Batch, Tensor, Tensor]]:
    """Yield each batch with its pairs' log-likelihoods (pairs,) float64.

    And whether each is the most likely token.
    """
    carry: Carry = {}
    for batch in batches:
        with torch.inference_mode(), packed(model):
            chosen, best = judge(model, batch, read(model, batch, carry))
        yield batch, chosen, best


def read(model: PreTrainedModel, batch: Batch, carry: Carry) -> Tensor:
    """Return the last hidden states (nodes, hidden) of a batch; to be called inside `packed(model)`."""
    place(batch, model.device)
    states = model.get_decoder()(
        input_ids=batch.ids, position_ids=batch.positions, use_cache=False, batch=batch, carry=carry
    )
    return states.last_hidden_state[0]


def place(batch: Batch, device: torch.device) -> None:
    """Move what the forward pass indexes with to `device`, once."""
    if batch.ids.device == device:
        return
    for name in ("ids", "positions", "places", "keep", "scored"):
        setattr(batch, name, getattr(batch, name).to(device))
    for group in batch.groups:
        group.to(device)


def judge(model: PreTrainedModel, batch: Batch, hidden: Tensor) -> tuple[Tensor, Tensor]:
    """Return log-likelihoods (pairs,) float64 and best (pairs,) bool, on the CPU.

    They come from final hidden states (nodes, hidden).
    """
    head = model.get_output_embeddings()
    chunk = max(1, LOGITS // (head.weight.shape[0] * hidden.element_size()))  # positions
    wanted = hidden[batch.scored.to(hidden.device)]  # (scores, hidden)
    edges = torch.searchsorted(batch.which, torch.arange(0, len(wanted) + chunk, chunk)).tolist()
    chosen, best = [], []
    for index, rows in enumerate(wanted.split(chunk)):
        part = slice(edges[index], edges[index + 1])
        # in the logits' own dtype, as stock HFLM does: the parity with it is to the rounding
        logits = torch.log_softmax(head(rows), dim=-1)  # (positions, vocabulary)
        where = (batch.which[part] - index * chunk).to(logits.device)
        targets = batch.targets[part].to(logits.device)
        chosen.append(logits[where, targets].double().cpu())
        best.append(is_argmax(logits, where, targets).cpu())
    return torch.cat(chosen), torch.cat(best)


def is_argmax(logits: Tensor, where: Tensor, targets: Tensor) -> Tensor:
    """Return whether each of `targets` (pairs,) is the argmax of its row `where` (pairs,).

    Rows are of `logits` (positions, vocabulary).

    An argmax takes a CPU as long as the product with the head does, a maximum a fifteenth: only rows whose target reaches it,
    where the first of equals decides, are looked at again.
    """
    highest = logits[where, targets] == logits.amax(-1)[where]
    reached = highest.nonzero()[:, 0]
    highest[reached] = logits[where[reached]].argmax(-1) == targets[reached]
    return highest
