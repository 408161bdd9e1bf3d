"""The step that times a checkpoint against the dense one.

Alternating rounds in one process, ratios, raw samples kept.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from harness import progress
from harness.machine.environment import Contention
from harness.measures.measure import Measure
from harness.quantities import Button, Column, Quantity
from harness.spec import Cost, Work

if TYPE_CHECKING:
    from harness.config import MeasureConfig

STABLE = 0.1  # two warm-up runs that differ by less are the end of warming up
WARMUPS = 3
MEMORY_SHARE = 0.5  # of free memory, that the models of one session may take


RATIO = re.compile(r"(prefill|decode)_ratio(?:_b(\d+))?")
PLACES = {"prefill": Button(20), "decode": Button(10)}


def ratio(phase: str, batch: int | None = None, column: Column | None = None) -> Quantity:
    """Return the throughput of a phase at a batch size, relative to dense; at batch 1 where none is named."""
    return Quantity(
        f"{phase}_ratio_b{batch}" if batch else f"{phase}_ratio",
        f"{phase} b{batch}" if batch else phase,
        *("×", "higher", "decimal", 1.0, f"{phase} throughput, × dense (batch {batch or 1})"),
        fronts=True,
        gate="relative",
        column=column or Column(55, 0.5, "interval", 0.05),
        button=None if batch else PLACES[phase],
        meaning=f"tokens a second in {phase} at batch {batch or 1}, as a ratio to dense",
    )


class Speed(Measure):
    """Prefill and decode throughput at each batch size, as ratios to dense (above 1: faster than dense).

    All variants of a session are timed once a round, each round in another (seeded) order, so that a machine that drifts
    drifts for all of them and none profits from its neighbour; batch sizes come one after the other. The dense row is a
    second copy of the dense model: what it misses of 1 is the noise.
    """

    NAME = KIND = "speed"
    TIMED: ClassVar[bool] = True
    BESIDE_DENSE: ClassVar[bool] = True
    QUANTITIES: ClassVar[tuple[Quantity, ...]] = (
        ratio("prefill", column=Column(40, 6, "interval", 0.6)),
        ratio("decode", column=Column(42, 7, "interval", 0.7)),
        ratio("prefill", 8, Column(44, 1, "interval", 0.1)),
        ratio("decode", 8, Column(46, 1.5, "interval", 0.15)),
    )
    fingerprint: str
    rounds: int = 7
    prompt_tokens: int = 128
    generate_tokens: int = 16
    batches: tuple[int, ...] = (1, 8)

    @classmethod
    def of_run(cls, settings: MeasureConfig, fingerprint: str) -> Speed:
        names = ("rounds", "prompt_tokens", "generate_tokens", "batches")
        return cls(fingerprint=fingerprint, **{name: getattr(settings, name) for name in names})

    @classmethod
    def quantity(cls, key: str) -> Quantity | None:
        matched = RATIO.fullmatch(key)
        return super().quantity(key) or (matched and ratio(matched[1], int(matched[2]) if matched[2] else None)) or None

    @classmethod
    def row(cls, result: Mapping[str, Any]) -> dict[str, Any]:
        row = {"contended": result["contention"]["contended"], "contention": json.dumps(result["contention"])}
        for kind, ratios in result["ratios"].items():
            phase, batch = kind.split("_b")
            name = f"{phase}_ratio" + (f"_b{batch}" if batch != "1" else "")
            row |= {name: ratios["ratio"], f"{name}_low": ratios["low"], f"{name}_high": ratios["high"]}
            row[f"{kind}.tokens_per_second"] = ratios["tokens_per_second"]
            row[f"{kind}.p_value"] = ratios["p_value"]
        return row

    def longest(self) -> tuple[str, int]:
        return "measure.prompt_tokens + measure.generate_tokens", self.prompt_tokens + self.generate_tokens

    def cost(self) -> Cost:
        runs = self.rounds + 2
        return Cost(
            forward_tokens=2 * runs * sum(self.batches) * self.prompt_tokens,
            decode_tokens=runs * len(self.batches) * self.generate_tokens,
            seconds=2,
        )

    def run(self, work: Work) -> None:
        self.run_together([work])

    def run_together(self, works: Sequence[Work]) -> None:
        """Time several variants against the same dense model in one session."""
        from harness.models import checkpoint

        dense = works[0].checkpoint(works[0].needs)
        models = [
            in_memory(checkpoint.load(folder, works[0].device))
            for folder in [dense, *(work.checkpoint() for work in works)]
        ]
        watch = Contention()
        samples: dict[str, list[list[float]]] = {}
        generator = np.random.default_rng(0)
        runs = [(batch, done) for batch in self.batches for done in range(-1, self.rounds)]
        for batch, done in progress.track(runs, "rounds"):
            timed = {}
            for index in generator.permutation(len(models)):
                run = partial(generate_seconds, models[index], batch, self.prompt_tokens, self.generate_tokens)
                timed[index] = warm_up(run) if done < 0 else run()
            for kind, column in (("prefill", 0), ("decode", 1)) if done >= 0 else ():
                samples.setdefault(f"{kind}_b{batch}", []).append(
                    [timed[index][column] for index in range(len(models))]
                )
        busy = watch.stop()
        for index, work in enumerate(works):
            work.result |= {"contention": busy, "session": len(works), **self._summary(samples, index + 1)}

    def _summary(self, samples: dict[str, list[list[float]]], column: int) -> dict[str, Any]:
        from harness.evaluation.ranks import mann_whitney
        from harness.evaluation.statistics import ratio_interval

        summary: dict[str, Any] = {"samples": {}, "ratios": {}}
        for name, rows in samples.items():
            times = np.array(rows)  # (rounds, models), seconds
            tokens = int(name.rsplit("b", 1)[1]) * (
                self.prompt_tokens if name.startswith("prefill") else self.generate_tokens
            )
            ratio, low, high = ratio_interval(times[:, 0], times[:, column])
            summary["samples"][name] = {"dense_seconds": times[:, 0].tolist(), "seconds": times[:, column].tolist()}
            summary["ratios"][name] = {
                "ratio": ratio,
                "low": low,
                "high": high,
                "tokens_per_second": tokens / float(np.median(times[:, column])),
                "p_value": mann_whitney(times[:, 0], times[:, column]),
            }
        return summary


def in_memory(model: Any) -> Any:
    """Return the model with its weights copied.

    Pages mapped from a file were 6 % slower, and not equally so.
    """
    for weight in model.parameters():
        weight.data = weight.data.clone()
    return model


def warm_up(run: Callable[[], tuple[float, float]]) -> tuple[float, float]:
    """Run until the totals of two runs in a row agree within STABLE, WARMUPS times at most.

    Return the last times.
    """
    last = run()
    for _ in range(WARMUPS - 1):
        now = run()
        if abs(sum(now) - sum(last)) < STABLE * sum(last):
            return now
        last = now
    return last


def generate_seconds(
    model: Any, batch: int, prompt: int, count: int, clock: Callable[[], Any] = time.perf_counter
) -> tuple[Any, Any]:
    """Return the seconds of a prefill of (batch, prompt) tokens, and of `count` greedy single-token steps after it.

    Of another `clock`, whatever that counts.
    """
    import torch

    ids = _prompt(model, batch, prompt)
    with torch.inference_mode():
        _synchronise(model)
        start = clock()
        output = model(input_ids=ids, use_cache=True, logits_to_keep=1)
        token = output.logits.argmax(-1)
        _synchronise(model)
        middle = clock()
        for _ in range(count):
            output = model(input_ids=token, past_key_values=output.past_key_values, use_cache=True)
            token = output.logits.argmax(-1)
        _synchronise(model)
        return middle - start, clock() - middle


def _prompt(model: Any, batch: int, prompt: int) -> Any:
    import torch

    ids = torch.randint(model.config.vocab_size, (batch, prompt), generator=torch.Generator().manual_seed(0))
    return ids.to(model.device)


def _synchronise(model: Any) -> None:
    import torch

    if model.device.type == "cuda":
        torch.cuda.synchronize()


def sessions(sizes: Sequence[tuple[str, int]], dense_bytes: int, free_bytes: int) -> list[list[str]]:
    """Group variants (key, bytes) so that dense and the group fit in MEMORY_SHARE of the free memory.

    At least one each.
    """
    room = free_bytes * MEMORY_SHARE - dense_bytes
    groups: list[list[str]] = []
    used = 0.0
    for key, size in sizes:
        if not groups or used + size > room:
            groups.append([])
            used = 0.0
        groups[-1].append(key)
        used += size
    return groups
