"""What only weights and a loaded tokenizer tell of a model that comes in.

It is refused by its import, the first step.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase


def check_finite(tensors: Iterable[tuple[str, torch.Tensor]], what: str) -> None:
    """Raise ValueError naming the first tensor that holds NaN or infinity."""
    for name, tensor in tensors:
        if tensor.is_floating_point() and not tensor.isfinite().all():
            count = int((~tensor.isfinite()).sum())
            raise ValueError(f"{what}: {name} holds {count:,} of {tensor.numel():,} numbers that are NaN or infinite")


def check_vocabulary(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    """Raise ValueError where the tokenizer gives ids that the embeddings have no row for.

    Or where it names no end of a text.
    """
    if tokenizer.eos_token_id is None:
        raise ValueError(
            "the tokenizer names no eos_token, which ends calibration documents and answers: set it in tokenizer_config.json"
        )
    rows = model.get_input_embeddings().weight.shape[0]
    beyond = sorted((index, token) for token, index in tokenizer.get_vocab().items() if index >= rows)
    if beyond:
        shown = ", ".join(f"{token!r} {index}" for index, token in beyond[:3])
        raise ValueError(
            f"the tokenizer has {len(beyond):,} token{'s' if len(beyond) > 1 else ''} beyond the {rows:,} rows of the embeddings "
            f"({shown}): it is another model's, or its embeddings were never resized (resize_token_embeddings({beyond[-1][0] + 1}))"
        )
