"""The state of a training on disk: weights, moments and curve, whole or not at all.

A damaged one is told and begun anew.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import torch
import xxhash
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from harness import progress
from harness.recovery.adamw import AdamW
from harness.storage import lines

STATE = "training.safetensors"

Row = tuple[int, int, float, str]  # step, tokens trained on so far, loss in nats per response token, kind


def save(scratch: Path, optimizer: AdamW, curve: list[Row]) -> None:
    """Keep weights, moments and curve with a checksum each, replacing the last state in one rename."""
    parts = {"weight": optimizer.weights, "mean": optimizer.means, "square": optimizer.squares}
    tensors = {
        f"{part}:{name}": tensor.detach().cpu().contiguous()
        for part, kept in parts.items()
        for name, tensor in kept.items()
    }
    told = json.dumps({"curve": curve, "counts": optimizer.counts})
    sums = json.dumps({name: _sum(tensor) for name, tensor in tensors.items()})
    draft = scratch / f"{STATE}.draft"
    save_file(tensors, draft, metadata={"told": told, "told_sum": _text_sum(told), "sums": sums})
    with draft.open("rb") as stream:
        os.fsync(stream.fileno())
    draft.replace(scratch / STATE)


def resume(scratch: Path, optimizer: AdamW) -> list[Row]:
    """Load the state that `save` kept into the optimizer and its weights.

    Return the curve so far, empty at a fresh start.
    """
    path = scratch / STATE
    if not path.is_file():
        return []
    try:
        with safe_open(path, "pt") as tensors, torch.no_grad():
            told = _checked(tensors, optimizer)
            optimizer.counts = told["counts"]
            for name, weight in optimizer.weights.items():
                weight.copy_(tensors.get_tensor(f"weight:{name}"))
                if name in optimizer.counts:
                    optimizer.means[name] = tensors.get_tensor(f"mean:{name}").to(weight.device)
                    optimizer.squares[name] = tensors.get_tensor(f"square:{name}").to(weight.device)
            return [tuple(row) for row in told["curve"]]
    except (_Unsound, SafetensorError) as error:
        aside = lines.set_aside(path)
        progress.notice(f"{STATE} is damaged ({error}); kept as {aside.name}, and training begins anew")
        return []


class _Unsound(Exception):
    """The state is not what was written, or not of this training."""


def _checked(tensors: safe_open, optimizer: AdamW) -> dict:
    """Return what stands beside the tensors.

    Nothing is loaded before every tensor is known to be as it was written.
    """
    metadata = tensors.metadata() or {}
    told = metadata.get("told", "")
    if metadata.get("told_sum") != _text_sum(told):
        raise _Unsound("its curve is not what was written")
    sums, stated = json.loads(metadata["sums"]), json.loads(told)
    names = set(tensors.keys())
    wanted = {f"weight:{name}" for name in optimizer.weights}
    wanted |= {f"{part}:{name}" for name in stated["counts"] for part in ("mean", "square")}
    if not wanted <= names & sums.keys():
        raise _Unsound("it is of another training")
    for name in wanted:
        tensor = tensors.get_tensor(name)
        if tensor.shape != optimizer.weights[name.partition(":")[2]].shape:
            raise _Unsound("it is of another training")
        if _sum(tensor) != sums[name]:
            raise _Unsound(f"{name} is not what was written")
    return stated


def _sum(tensor: Tensor) -> str:
    """Return the hash of a tensor's bytes; xxh3 reads them faster than a disk writes them."""
    return xxhash.xxh3_64_hexdigest(tensor.flatten().view(torch.uint8).numpy())


def _text_sum(text: str) -> str:
    return xxhash.xxh3_64_hexdigest(text.encode())
