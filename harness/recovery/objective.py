"""The loss of recovery and of super-network training.

cross-entropy on response tokens mixed with KL to a teacher.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional
from transformers import PreTrainedModel

from harness.data.calibration import IGNORED

PART = 4096  # tokens of one forward pass with gradients: a large batch is summed from parts


def parts(ids: Tensor, labels: Tensor) -> Iterator[tuple[Tensor, Tensor, float]]:
    """Yield (ids, labels, scale) of at most PART tokens (one row at least).

    `scale` turns sums over response tokens of a part into shares of the batch's mean.
    """
    rows = max(1, PART // ids.shape[1])
    count = max(1, int((labels[:, 1:] != IGNORED).sum()))
    for part, wanted in zip(ids.split(rows), labels.split(rows), strict=True):
        yield part, wanted, 1 / count


def precision(model: PreTrainedModel) -> torch.autocast:
    """Let passes compute in the run's dtype, that of the checkpoint, whatever the weights are trained in.

    16 bits on a processor that has no instructions for them take many times as long, and dtype=auto picks float32 there.
    """
    sixteen = model.config.dtype in (torch.bfloat16, torch.float16)
    return torch.autocast(model.device.type, dtype=torch.bfloat16, enabled=sixteen)


def response_logits(model: PreTrainedModel, ids: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Return the logits (tokens, vocabulary) and targets (tokens,) where a response token is predicted.

    The logits are float32. The head is run nowhere else.
    """
    with precision(model):
        hidden = model.get_decoder()(input_ids=ids, use_cache=False).last_hidden_state[:, :-1]
        wanted = labels[:, 1:]
        answered = wanted != IGNORED
        return model.get_output_embeddings()(hidden[answered]).float(), wanted[answered]


@torch.no_grad()
def teach(model: PreTrainedModel, ids: Tensor, labels: Tensor) -> Tensor:
    """Return a teacher's logits (tokens, vocabulary) at the response tokens, without gradients."""
    return response_logits(model, ids, labels)[0]


def loss(logits: Tensor, wanted: Tensor, teacher: Tensor | None, distill: float) -> Tensor:
    """Return the sum over tokens of (1 - distill) * cross-entropy + distill * KL(teacher || logits).

    No teacher, no KL.
    """
    hard = functional.cross_entropy(logits, wanted, reduction="sum")
    if teacher is None or not distill:
        return hard
    soft = functional.kl_div(logits.log_softmax(-1), teacher.log_softmax(-1), log_target=True, reduction="sum")
    return (1 - distill) * hard + distill * soft
