"""lm-eval models: HFLM with its log-likelihood engine replaced by packed tries, and HFLM as it is.

Both can be killed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from lm_eval.models.huggingface import HFLM
from lm_eval.models.utils import normalize_gen_kwargs
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from harness import progress
from harness.data.definitions import draws
from harness.evaluation.batches import pack
from harness.evaluation.journal import Journal, request_key
from harness.evaluation.scorer import scored
from harness.evaluation.trie import Request

BATCH = 16  # rows of stock HFLM, and of generation
CHUNK = 256  # requests that stock HFLM answers between two lines of the journal
PADDED = 16384  # tokens of a stock batch: sixteen whole pages of text would need 50 GB of logits
Answer = tuple[float, bool]


class StockLM(HFLM):
    """lm-eval's own scorer, the oracle that ours is compared with.

    `journal` remembers what a killed run has scored.

    `cut_requests` counts those whose contexts lost their beginnings since the model reads no more: lm-eval does so silently.
    """

    def __init__(
        self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, *, journal: Journal | None = None
    ) -> None:
        head, tied = model.get_output_embeddings().weight, model.config.tie_word_embeddings
        super().__init__(pretrained=model, tokenizer=tokenizer, batch_size=BATCH)
        assert tied or model.get_output_embeddings().weight is head, "HFLM tied a head that is not tied"
        self.journal = journal or Journal()
        self.cut_requests = 0

    def loglikelihood(self, requests: list[Any], disable_tqdm: bool = False) -> list[Answer]:
        return super().loglikelihood(requests, disable_tqdm=True)  # progress is shown by us, once

    def loglikelihood_rolling(self, requests: list[Any], disable_tqdm: bool = False) -> list[float]:
        return super().loglikelihood_rolling(requests, disable_tqdm=True)

    def answers(self, requests: Sequence[Request]) -> list[Answer]:
        """Return (log-likelihood, greedy) of requests that are token ids already."""
        return self._loglikelihood_tokens(
            [(("", ""), list(each.context), list(each.continuation)) for each in requests]
        )

    def _loglikelihood_tokens(
        self, requests: list[Any], disable_tqdm: bool = False, override_bs: int | None = None
    ) -> list[Answer]:
        self.cut_requests += sum(
            len(context) + len(continuation) > self.max_length + 1 for _, context, continuation in requests
        )
        keys = [request_key(context, continuation) for _, context, continuation in requests]
        new = {key: request for key, request in zip(keys, requests, strict=True) if key not in self.journal}
        self._answer(new, override_bs)
        return [(float(self.journal[key][0]), bool(self.journal[key][1])) for key in keys]

    def _answer(self, new: dict[str, Any], override_bs: int | None) -> None:
        """Score the requests and write them to the journal."""
        longest_first = sorted(new.items(), key=lambda item: (-len(item[1][1]) - len(item[1][2]), item[1][1]))
        for start in progress.track(range(0, len(new), CHUNK), "scoring"):
            part = longest_first[start : start + CHUNK]
            longest = min(self.max_length, len(part[0][1][1]) + len(part[0][1][2]))
            self.batch_size_per_gpu = max(1, min(BATCH, PADDED // longest))
            answers = super()._loglikelihood_tokens([request for _, request in part], True, override_bs)
            self.journal.add((key, answer) for (key, _), answer in zip(part, answers, strict=True))

    def generate_until(self, requests: list[Any], disable_tqdm: bool = False) -> list[str]:
        self.cut_requests += sum(self._loses_its_beginning(*request.args) for request in requests)
        keys = generation_keys(requests)
        new = {key: request for key, request in zip(keys, requests, strict=True) if key not in self.journal}
        parts = list(new.items())
        for start in progress.track(range(0, len(parts), BATCH), "generating"):
            part = parts[start : start + BATCH]
            with seeded(part[0][0]):
                texts = super().generate_until([request for _, request in part], disable_tqdm=True)
            self.journal.add((key, text) for (key, _), text in zip(part, texts, strict=True))
        return [str(self.journal[key]) for key in keys]

    def _loses_its_beginning(self, context: str, options: dict[str, Any]) -> bool:
        wanted = normalize_gen_kwargs(options, self.max_gen_toks)["max_gen_toks"]
        return len(self.tok_encode(context)) + wanted > self.max_length


def generation_keys(requests: Sequence[Any]) -> list[str]:
    """Return a key for each request.

    Equal ones share an answer, unless it is drawn, when each is a draw of its own.
    """
    asked: Counter[str] = Counter()
    keys = []
    for request in requests:
        key = request_key("generate", *request.args)
        keys.append(request_key(key, asked[key]) if asked[key] and draws(request.args[1]) else key)
        asked[key] += 1
    return keys


@contextmanager
def seeded(key: str) -> Iterator[None]:
    """Let what is drawn depend on what is asked alone, not on what was drawn before it or on a kill."""
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices):
        torch.manual_seed(int(key[:15], 16))
        yield


class TreeLM(StockLM):
    """lm-eval model: every shared prefix once, answers as branches, the head only where a token is scored."""

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        *,
        batch_tokens: int = 2048,
        journal: Journal | None = None,
    ) -> None:
        super().__init__(model, tokenizer, journal=journal)
        self.batch_tokens = batch_tokens

    def _answer(self, new: dict[str, Any], override_bs: int | None) -> None:
        asked = [cut(context, continuation, self.max_length) for _, context, continuation in new.values()]
        answer(self.model, dict(zip(new, asked, strict=True)), self.journal, batch_tokens=self.batch_tokens)


def answer(model: PreTrainedModel, asked: dict[str, Request], journal: Journal, *, batch_tokens: int) -> None:
    """Score the requests by key and write each to the journal once its batch is done."""
    keys = list(asked)
    batches = pack(list(asked.values()), budget=batch_tokens)
    for batch, chosen, best in progress.track(scored(model, batches), "scoring", total=len(batches)):
        totals: dict[int, Answer] = {}
        for owner, one, likely in zip(batch.owners.tolist(), chosen.tolist(), best.tolist(), strict=True):
            total, greedy = totals.get(owner, (0.0, True))
            totals[owner] = total + one, greedy and likely
        journal.add((keys[owner], sums) for owner, sums in totals.items())


def cut(context: Sequence[int], continuation: Sequence[int], longest: int) -> Request:
    """Return the request with its context cut from the left to what the model can read, as lm-eval does."""
    if len(continuation) > longest:
        raise ValueError(f"an answer of {len(continuation)} tokens is longer than the {longest} that the model reads")
    keep = longest + 1 - len(continuation)
    return Request(tuple(context)[-keep:] if len(context) > keep else tuple(context), tuple(continuation))
