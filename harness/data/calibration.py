"""Calibration tokens and training batches: the same seeded draws for every method of a table."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from harness.data import text
from harness.spec import CalibrationSpec, DataSource

IGNORED = -100  # label that the loss leaves out


@dataclass(frozen=True)
class Calibration:
    """What a method may look at: `tokens` (samples, length)."""

    tokens: Tensor

    @property
    def count(self) -> int:
        return self.tokens.numel()


def draw(spec: CalibrationSpec, tokenizer: PreTrainedTokenizerBase) -> Calibration:
    """Return `samples` windows of `length` tokens, at seeded places of the joined text.

    Without overlap while it lasts.
    """
    joined: list[int] = []
    generator = torch.Generator().manual_seed(spec.seed)
    documents = text.documents(spec.source)
    for index in torch.randperm(len(documents), generator=generator).tolist():
        joined += [*tokenizer(documents[index]).input_ids, tokenizer.eos_token_id]
        if len(joined) >= spec.tokens:
            break
    if len(joined) < spec.length:
        raise ValueError(
            f"calibration text {spec.source.name} has {len(joined)} tokens; one sample needs {spec.length}"
        )
    stream = torch.tensor(joined)
    windows = stream.numel() // spec.length
    if windows >= spec.samples:
        return Calibration(stream[: spec.samples * spec.length].view(spec.samples, spec.length))
    starts = torch.randint(0, stream.numel() - spec.length + 1, (spec.samples,), generator=generator)
    return Calibration(torch.stack([stream[start : start + spec.length] for start in starts]))


def training_rows(source: DataSource, tokenizer: PreTrainedTokenizerBase, *, length: int, seed: int) -> Tensor:
    """Return packed rows (rows, 2, length): token ids and labels, prompts IGNORED.

    Examples follow each other in a row.
    """
    ids: list[int] = []
    labels: list[int] = []
    rows = text.rows(source)
    generator = torch.Generator().manual_seed(seed)
    for index in torch.randperm(len(rows), generator=generator).tolist():
        asked = tokenizer(text.prompt(rows[index])).input_ids
        answered = [*tokenizer(text.response(rows[index]), add_special_tokens=False).input_ids, tokenizer.eos_token_id]
        ids += asked + answered
        labels += [IGNORED] * len(asked) + answered
    count = len(ids) // length
    if not count:
        raise ValueError(f"training data {source.name} has {len(ids)} tokens, less than one row of {length}")
    return (
        torch.tensor([ids[: count * length], labels[: count * length]])
        .view(2, count, length)
        .transpose(0, 1)
        .contiguous()
    )


def batches(data: Tensor, *, size: int, steps: int, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield `steps` batches (ids, labels), each (size, length), epoch after epoch in seeded order."""
    generator = torch.Generator().manual_seed(seed)
    order: list[int] = []
    for _ in range(steps):
        while len(order) < size:
            order += torch.randperm(len(data), generator=generator).tolist()
        chosen, order = order[:size], order[size:]
        yield data[chosen, 0], data[chosen, 1]
