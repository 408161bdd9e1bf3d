"""What pruning SmolLM2-135M costs, method by method, each in a process of its own (pytest-benchmark).

`pytest tests/real/test_real_methods.py --benchmark-only --benchmark-json=methods.json`: `extra_info` has the CPU seconds
of the method alone and its peak memory over the dense model's, which may not pass its limit; the benchmark's own time
includes start and loading.
"""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import psutil
import pytest
import torch
from transformers import PreTrainedModel

from harness import registry
from harness.data.calibration import Calibration
from harness.machine.peak import peak_bytes, reset_peak
from harness.models import checkpoint, source

pytestmark = [pytest.mark.real, pytest.mark.timeout(2700)]  # a processor without 16-bit instructions takes its time
TOKENS = torch.randint(0, 40_000, (16, 128), generator=torch.Generator().manual_seed(0))
LIMIT = 1.6  # times the dense model's peak, without gradients; 1.5 is promised, allocators differ by a tenth from run to run
SHORT = {  # settings under which a method that looks often at the text takes seconds
    "shortened_llama": {"samples": 2},
    "multipruner": {"samples": 2, "length": 32},
}
METHODS = sorted(
    name
    for name, kind in registry.methods().items()
    if "budget" in kind.model_fields and kind.NAME not in ("nas", "external")
)


def dense(model: PreTrainedModel) -> None:
    """What every method is compared with: the calibration tokens through the model."""
    with torch.no_grad():
        for part in TOKENS.split(8):
            model(part, use_cache=False)


def compress(name: str, model: PreTrainedModel) -> None:
    kind = registry.methods()[name]
    registry.build(kind, {"budget": 0.8, **SHORT.get(name, {})}).compress(model, Calibration(TOKENS))


def child(pipe, folder: Path, work: Callable[[PreTrainedModel], None]) -> None:
    before = psutil.Process().memory_info().rss
    reset_peak()
    model = checkpoint.load(folder)
    begun = time.process_time()
    work(model)
    pipe.send((peak_bytes() - before, time.process_time() - begun))


def measured(folder: Path, work: Callable[[PreTrainedModel], None]) -> tuple[int, float]:
    """Return by how many bytes a fresh process grew at its peak, and the CPU seconds of `work`.

    The growth includes loading the model.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["harness.executors.warm"])
    ours, theirs = context.Pipe()
    process = context.Process(target=child, args=(theirs, folder, work))
    process.start()
    theirs.close()
    try:
        return ours.recv()
    finally:
        process.join()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """SmolLM2-135M in bfloat16, as runs store it."""
    place = tmp_path_factory.mktemp("dense")
    model, tokenizer = source._load(source.resolve("smollm2-135m"), seed=0)
    tokenizer.save_pretrained(place)
    checkpoint.save(model.to(torch.bfloat16), place, place)
    return place


@pytest.fixture(scope="module")
def dense_peak(folder):
    return measured(folder, dense)[0]


@pytest.mark.parametrize("name", METHODS)
def test_pruning_needs_little_more_memory_than_the_dense_model(name, folder, dense_peak, benchmark):
    grown, seconds = benchmark.pedantic(measured, args=(folder, partial(compress, name)), rounds=1)
    benchmark.extra_info |= {"peak_over_dense": grown / dense_peak, "cpu_seconds": seconds}
    if "backward" not in registry.methods()[name].NEEDS:
        assert grown <= LIMIT * dense_peak
