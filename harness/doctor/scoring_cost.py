"""What scoring costs with our engine and with lm-eval's HFLM.

Same process, same model, same requests, alternately.
"""

from __future__ import annotations

import ctypes
import gc
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from statistics import median
from typing import Any

import torch

from harness.doctor.flops import counting, floor_flops
from harness.evaluation.journal import Journal
from harness.evaluation.lm import StockLM, TreeLM, cut
from harness.evaluation.trie import Request, floor
from harness.machine.peak import peak_bytes, reset_peak

SCORERS: dict[str, Callable[..., Any]] = {"tree": TreeLM, "hflm": StockLM}


@dataclass
class Cost:
    """FLOPs of one pass, and CPU seconds, wall seconds and peak bytes of each timed pass.

    Peaks are above what was resident before.
    """

    flops: int = 0
    cpu: list[float] = field(default_factory=list)
    wall: list[float] = field(default_factory=list)
    peak: list[int] = field(default_factory=list)


@dataclass
class Comparison:
    """One task (or all of them, as one set of requests), scored by both."""

    name: str
    requests: int
    floor_flops: int
    costs: dict[str, Cost]

    def ratio(self, quantity: str) -> float:
        """Return how many times more HFLM needs.

        FLOPs, or the median over paired passes of CPU or wall seconds.
        """
        ours, theirs = self.costs["tree"], self.costs["hflm"]
        if quantity == "flops":
            return theirs.flops / ours.flops
        pairs = zip(getattr(theirs, quantity), getattr(ours, quantity), strict=True)
        return median(other / own for other, own in pairs)

    @property
    def above_floor(self) -> float:
        """Return our FLOPs over the least possible."""
        return self.costs["tree"].flops / self.floor_flops


def together(comparisons: Sequence[Comparison]) -> Comparison:
    """Return all tasks as one: sums, round by round; of peaks the largest."""
    costs = {
        kind: Cost(
            sum(each.costs[kind].flops for each in comparisons),
            [sum(times) for times in zip(*(each.costs[kind].cpu for each in comparisons), strict=True)],
            [sum(times) for times in zip(*(each.costs[kind].wall for each in comparisons), strict=True)],
            [max(peaks) for peaks in zip(*(each.costs[kind].peak for each in comparisons), strict=True)],
        )
        for kind in SCORERS
    }
    return Comparison(
        "all", sum(each.requests for each in comparisons), sum(each.floor_flops for each in comparisons), costs
    )


def measure(name: str, model: Any, tokenizer: Any, instances: Sequence[Any], *, rounds: int) -> Comparison:
    """Score lm-eval `instances` by each engine: once with FLOPs counted, then timed.

    `rounds` times alternately, with time and memory taken.
    """
    costs = {kind: Cost() for kind in SCORERS}
    requests = _requests(model, tokenizer, instances)
    for kind in SCORERS:
        with counting() as counter:
            _score(kind, model, tokenizer, instances)
        costs[kind].flops = counter.get_total_flops()
    for number in range(rounds):
        for kind in list(SCORERS)[:: 1 if number % 2 else -1]:
            _timed(costs[kind], partial(_score, kind, model, tokenizer, instances), on_gpu=model.device.type == "cuda")
    return Comparison(name, len(requests), floor_flops(model, floor(requests)), costs)


def _requests(model: Any, tokenizer: Any, instances: Sequence[Any]) -> list[Request]:
    """Return the token requests behind the instances, as lm-eval asks them."""
    asked: list[Request] = []

    class Listener(TreeLM):
        def _answer(self, new: dict[str, Any], override_bs: int | None) -> None:
            asked.extend(cut(context, continuation, self.max_length) for _, context, continuation in new.values())
            self.journal.add((key, (0.0, False)) for key in new)

    _ask(Listener(model, tokenizer), instances)
    return asked


def _score(kind: str, model: Any, tokenizer: Any, instances: Sequence[Any]) -> None:
    _ask(SCORERS[kind](model, tokenizer, journal=Journal()), instances)


def _ask(scorer: Any, instances: Sequence[Any]) -> None:
    for kind in sorted({instance.request_type for instance in instances}):
        part = [instance for instance in instances if instance.request_type == kind]
        getattr(scorer, kind)(part, disable_tqdm=True)


def _timed(cost: Cost, work: Callable[[], object], *, on_gpu: bool) -> None:
    gc.collect()
    with suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)  # what the last pass freed must not count as this one's
    reset_peak()
    before = peak_bytes()
    if on_gpu:
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
    cpu, wall = time.process_time(), time.perf_counter()
    work()
    cost.cpu.append(time.process_time() - cpu)
    cost.wall.append(time.perf_counter() - wall)
    peak = torch.cuda.max_memory_allocated() if on_gpu else peak_bytes()
    cost.peak.append(peak - before)
