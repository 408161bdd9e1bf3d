"""Score answers in one forward pass per item: lm-eval's HFLM with its log-likelihood engine replaced by token trees."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from lm_eval.models.huggingface import HFLM
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from harness import progress
from harness.evaluation.trie import Batch, Request, pack

HEAD_ROWS = 512  # scored positions that go through the head at once: the logits are the largest tensor


@torch.inference_mode()
def score(model: PreTrainedModel, batches: Sequence[Batch], count: int, *, show: bool = False) -> tuple[Tensor, Tensor]:
    """Return (log-likelihoods (count,) float64, greedy (count,) bool) of the requests that `batches` pack."""
    totals = torch.zeros(count, dtype=torch.float64)
    greedy = torch.ones(count, dtype=torch.bool)
    for batch in progress.track(batches, "scoring") if show else batches:
        chosen, best = _score_batch(model, batch)
        totals.index_add_(0, batch.owners, chosen.double().cpu())
        greedy[batch.owners[~best.cpu()]] = False
    return totals, greedy


def _score_batch(model: PreTrainedModel, batch: Batch) -> tuple[Tensor, Tensor]:
    device = model.device
    hidden = model.get_decoder()(
        input_ids=batch.ids.to(device),
        position_ids=batch.positions.to(device),
        attention_mask=batch.mask.to(device) if batch.mask is not None else None,
        use_cache=False,
    ).last_hidden_state  # (rows, nodes, hidden)
    wanted = hidden.flatten(0, 1)[batch.scored.to(hidden.device)]  # (scores, hidden)
    chosen, best = [], []
    for rows, targets in zip(wanted.split(HEAD_ROWS), batch.targets.to(hidden.device).split(HEAD_ROWS), strict=True):
        # in the logits' own dtype, as stock HFLM does: the parity with it is to the rounding
        logits = torch.log_softmax(model.get_output_embeddings()(rows), dim=-1)  # (rows, vocabulary)
        chosen.append(logits.gather(1, targets[:, None]).squeeze(1).float())
        best.append(logits.argmax(dim=1) == targets)
    return torch.cat(chosen), torch.cat(best)


class TreeLM(HFLM):
    """lm-eval model: contexts and shared prefixes once, answers as branches, the head only where a token is scored."""

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, *, batch_tokens: int = 2048) -> None:
        super().__init__(pretrained=model, tokenizer=tokenizer, batch_size=16)
        self.batch_tokens = batch_tokens

    def _loglikelihood_tokens(
        self, requests: list[Any], disable_tqdm: bool = False, override_bs: int | None = None
    ) -> list[tuple[float, bool]]:
        asked = [cut(context, continuation, self.max_length) for _, context, continuation in requests]
        totals, greedy = score(self.model, pack(asked, budget=self.batch_tokens), len(asked), show=True)
        return list(zip(totals.tolist(), greedy.tolist(), strict=True))


def cut(context: Sequence[int], continuation: Sequence[int], longest: int) -> Request:
    """Return the request with its context cut from the left to what the model can read, as lm-eval does."""
    if len(continuation) > longest:
        raise ValueError(f"an answer of {len(continuation)} tokens is longer than the {longest} that the model reads")
    keep = longest + 1 - len(continuation)
    return Request(tuple(context)[-keep:] if len(context) > keep else tuple(context), tuple(continuation))


def stock(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> HFLM:
    """Return lm-eval's own scorer, the oracle that ours is compared with."""
    return HFLM(pretrained=model, tokenizer=tokenizer, batch_size=16)
