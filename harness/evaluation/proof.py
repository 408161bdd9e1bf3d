"""Whether the packed scorer gives what a model's own forward pass gives.

A few requests through both, before the first use.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedModel

from harness.evaluation.batches import pack
from harness.evaluation.scorer import scored
from harness.evaluation.trie import Request
from harness.families.all_families import known

# How far log-likelihoods of tokens may lie apart, at most and on average, as shares of their mean size: both ways add up the same
# products in another order, at every layer. SmolLM2-135M (15 nats a token) is off by 3e-5 and 1.3e-6 in float32 and by 0.03 and
# 0.003 in bfloat16, whose numbers are a share of 0.004 to 0.008 apart; a forgotten multiplier, bias or window makes 0.03 on average
# and more. What 16 bits hide is no larger than what they round anyway.
TOLERANCES = {
    torch.float64: (3e-5, 2e-6),  # norms compute in float32 even here
    torch.float32: (3e-4, 2e-5),
    torch.float16: (0.02, 0.0025),
    torch.bfloat16: (0.1, 0.012),
}
LENGTHS = (1, 7, 30)  # tokens of contexts
BRANCHES = 2  # answers a context
BUDGET = 48  # fresh tokens a batch: the requests take several, which hand keys on
WIDE = 512  # a window of more tokens is proven as one of NARROW
NARROW = 24


@dataclass(frozen=True)
class Proof:
    """What the two ways differed by in nats a token.

    `why` says why the packed scorer may not be used, "" where it may.
    """

    why: str
    largest: float | None = None
    mean: float | None = None
    tokens: int = 0

    @property
    def holds(self) -> bool:
        return not self.why


def prove(model: PreTrainedModel) -> Proof:
    """Return whether the packed scorer agrees with the model's own forward pass.

    Within the tolerance of its dtype.
    """
    allowed, usual = TOLERANCES.get(model.dtype, TOLERANCES[torch.bfloat16])
    config = model.config.get_text_config()
    for name, neutral in known(config.model_type).scales.items():
        if (value := getattr(config, name, None)) not in neutral:
            return Proof(f"the packed scorer does not know the model's {name} ({value})")
    with window(model) as width:
        asked = questions(model, width)
        expected = [each for request in asked for each in plain(model, request).tolist()]
        try:
            packed = packed_tokens(model, asked)
        except torch.OutOfMemoryError:
            raise
        except (
            Exception
        ) as error:  # whatever a family's code says to arguments that it does not know; it is told as the reason
            return Proof(
                f"the model's layers do not take packed requests ({type(error).__name__}: {str(error).splitlines()[0]})"
            )
    own = torch.tensor(expected, dtype=torch.float64)
    gaps, size = (own - torch.tensor(packed, dtype=torch.float64)).abs(), own.abs().mean().item()
    largest, mean = gaps.max().item(), gaps.mean().item()
    if largest <= allowed * size and mean <= usual * size:  # false for NaN too
        return Proof("", largest, mean, len(gaps))
    words = (
        f"packed requests differ from the model's own pass by up to {largest:.2g} nats a token, {mean:.2g} on average"
    )
    return Proof(words, largest, mean, len(gaps))


def questions(model: PreTrainedModel, width: int | None) -> list[Request]:
    """Return seeded requests that share beginnings, of several lengths.

    Some are longer than `width`, and the model can read all.
    """
    vocabulary = min(model.config.get_text_config().vocab_size, model.get_input_embeddings().weight.shape[0])
    rng = random.Random(0)
    draw = [rng.randrange(vocabulary) for _ in range(max(LENGTHS) + (width or 0) + 16)]
    limit = getattr(model.config.get_text_config(), "max_position_embeddings", None) or len(draw)
    lengths = [*LENGTHS, *((width - 1, width + 8) if width else ())]
    asked = []
    for length in sorted({max(1, min(length, limit - 4)) for length in lengths}):
        for _ in range(BRANCHES):
            asked.append(Request(tuple(draw[:length]), tuple(rng.randrange(vocabulary) for _ in range(3))))
    return asked


@torch.inference_mode()
def plain(model: PreTrainedModel, request: Request) -> Tensor:
    """Return the log-likelihoods (continuation,) float64 of one request by one ordinary forward pass.

    Of the whole model.
    """
    targets = torch.tensor(request.continuation)
    logits = model(torch.tensor([request.inputs], device=model.device), use_cache=False).logits[0, -len(targets) :]
    return torch.log_softmax(logits, -1).cpu().gather(1, targets[:, None])[:, 0].double()


def packed_tokens(model: PreTrainedModel, asked: Sequence[Request]) -> list[float]:
    """Return the same of all requests, one after the other, as the packed scorer finds them."""
    by_request: dict[int, list[float]] = {}
    for batch, chosen, _ in scored(model, pack(asked, budget=BUDGET)):
        for owner, value in zip(batch.owners.tolist(), chosen.tolist(), strict=True):  # in the order of their positions
            by_request.setdefault(owner, []).append(value)
    return [each for index in range(len(asked)) for each in by_request[index]]


@contextlib.contextmanager
def window(model: PreTrainedModel) -> Iterator[int | None]:
    """Give the width of the model's sliding window, None without one.

    One of more than WIDE is NARROW meanwhile.
    """
    config = model.config.get_text_config()
    width = getattr(config, "sliding_window", None)
    if not width or width <= WIDE:
        yield width or None
        return
    holders = [config, *(module for module in model.modules() if getattr(module, "sliding_window", None) == width)]
    for holder in holders:
        holder.sliding_window = NARROW
    try:
        yield NARROW
    finally:
        for holder in holders:
            holder.sliding_window = width
