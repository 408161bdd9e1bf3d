"""Decoders of a published geometry with random weights, and how fast their parts run beside the whole.

Shape only.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np
import psutil
import torch
from torch.nn import functional
from transformers import LlamaConfig, LlamaForCausalLM
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

from harness.measures.speed import generate_seconds
from harness.models.checkpoint import pick_device

GEOMETRIES: dict[str, dict[str, Any]] = {
    "llama-2-7b": {
        "vocab_size": 32000,
        "hidden_size": 4096,
        "intermediate_size": 11008,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 32,
        "tie_word_embeddings": False,
    },
    "llama-3-8b": {
        "vocab_size": 128256,
        "hidden_size": 4096,
        "intermediate_size": 14336,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "tie_word_embeddings": False,
    },
    "smollm2-135m": {
        "vocab_size": 49152,
        "hidden_size": 576,
        "intermediate_size": 1536,
        "num_hidden_layers": 30,
        "num_attention_heads": 9,
        "num_key_value_heads": 3,
        "tie_word_embeddings": True,
    },
    "tiny": {
        "vocab_size": 256,
        "hidden_size": 64,
        "intermediate_size": 256,
        "num_hidden_layers": 16,
        "num_attention_heads": 4,
        "num_key_value_heads": 4,
        "tie_word_embeddings": True,
    },
}
PATTERN = 2**20 + 7  # random numbers that weights repeat; odd, so that no two rows are alike
SPREAD = 0.02  # of the weights
SLACK = 0.05  # share of the weights' bytes, for activations and keys
VIEW_ROUNDS = 21
LEAST = 300 * 2**20  # bytes, beside the weights
TARGET = 1.3  # times dense, the speed that LLaMA-NAS (arXiv 2405.18377) claims of sub-networks 1.5 times smaller


def build(geometry: str, *, dtype: str, device: str, seed: int) -> Any:
    """Return a Llama of that geometry, built in `dtype` and filled once.

    ValueError where it does not fit into free memory.
    """

    place, kind = pick_device(device), getattr(torch, dtype)
    place = "cuda" if place == "auto" else place
    if place == "cuda" and not torch.cuda.is_available():
        raise ValueError("device=cuda: torch finds no GPU here")
    config = LlamaConfig(**GEOMETRIES[geometry], max_position_embeddings=4096, attn_implementation="sdpa")
    with torch.device("meta"):
        model = LlamaForCausalLM._from_config(config, dtype=kind)
    check_room(geometry, sum(weight.numel() for weight in model.parameters()) * kind.itemsize, free_bytes(place), dtype)
    model.to_empty(device=place)
    model.tie_weights()  # to_empty unties
    model.get_decoder().rotary_emb = LlamaRotaryEmbedding(config).to(place)
    fill(model, seed)
    return model.eval().requires_grad_(False)


@torch.no_grad()
def fill(model: Any, seed: int) -> None:
    """Write every weight: matrices with one block of normal numbers repeated, norms with ones.

    Untouched pages are no memory.
    """
    generator = torch.Generator().manual_seed(seed)
    pattern = torch.randn(PATTERN, generator=generator).mul(SPREAD).to(model.dtype).to(model.device)
    for weight in model.parameters():
        if weight.dim() == 1:
            weight.fill_(1)
            continue
        for part in weight.view(-1).split(PATTERN):
            part.copy_(pattern[: len(part)])


def free_bytes(device: str) -> int:
    """Return the memory that is free for a model on the device."""
    if device.startswith("cuda"):
        return int(torch.cuda.mem_get_info(device)[0])
    return int(psutil.virtual_memory().available)


def check_room(geometry: str, weights: int, free: int, dtype: str) -> None:
    """Raise ValueError where so many bytes of weights exceed what is free.

    What a forward pass needs beside them is counted.
    """
    needed = weights + max(LEAST, int(weights * SLACK))
    if needed > free:
        raise ValueError(
            f"geometry {geometry} in {dtype} needs {needed / 1e9:.1f} GB ({weights / 1e9:.1f} GB of weights), "
            f"and {free / 1e9:.1f} GB are free; take a smaller one of {', '.join(GEOMETRIES)}"
        )


def alternating(
    model: Any,
    members: Mapping[str, Callable[[], object]],
    *,
    dense: Callable[[], object],
    prompt: int,
    generate: int,
    rounds: int,
    told: Callable[[str], object],
) -> Iterator[dict[str, tuple[tuple[float, float], tuple[float, float]]]]:
    """Yield each round's seconds of (prefill, decode) by member.

    The dense model's right beside it, then its own.

    A member or `dense` is a function that makes `model` behave as it. Dense goes before the member in every other round and
    after it in the others, members change places, and a round before the first one warms up.
    """
    generator = np.random.default_rng(0)
    run = partial(generate_seconds, model, 1, prompt, generate)
    names = list(members)
    for number in range(rounds + 1):
        architectures = {}
        for place, index in enumerate(generator.permutation(len(names))):
            name = names[index]
            told(f"{f'round {number}/{rounds}' if number else 'warming up'}, {place + 1}/{len(names)}: {name}")
            times = []
            for behave in (dense, members[name])[:: -1 if number % 2 else 1]:
                behave()
                times.append(run())
            first, second = times
            architectures[name] = (second, first) if number % 2 else (first, second)
        if number:
            yield architectures


@torch.inference_mode()
def view_seconds(model: Any, tokens: int) -> tuple[float, bool]:
    """Return how many times longer a product takes on a view of weights than on a copy.

    And whether both give the same bits. The weights are half of an MLP's channels, the time is the median of paired runs.
    """
    whole = model.get_decoder().layers[0].mlp.down_proj.weight
    view = whole[:, : whole.shape[1] // 2]
    copy = view.contiguous()
    inputs = torch.randn(1, tokens, view.shape[1], generator=torch.Generator().manual_seed(0)).to(view)
    ratios = []
    for number in range(VIEW_ROUNDS):
        seconds = {}
        for weight in (view, copy)[:: -1 if number % 2 else 1]:
            start = time.perf_counter()
            functional.linear(inputs, weight)
            if whole.device.type == "cuda":
                torch.cuda.synchronize()
            seconds[weight is view] = time.perf_counter() - start
        ratios.append(seconds[True] / seconds[False])
    same = torch.equal(functional.linear(inputs, view), functional.linear(inputs, copy))
    return float(np.median(ratios[2:])), same  # the first ones warm up


def reached(low: float, high: float, target: float = TARGET) -> str:
    """Return "yes" or "no" where the whole interval lies on one side of the target, else "open"."""
    return "yes" if low >= target else "no" if high < target else "open"
