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
from harness.machine import environment
from harness.machine.environment import Contention
from harness.measures.measure import Measure
from harness.quantities import Button, Column, Quantity
from harness.runtimes.all_runtimes import runtime
from harness.runtimes.runtime import TORCH
from harness.spec import Cost, Work

if TYPE_CHECKING:
    from harness.config import MeasureConfig

STABLE = 0.1  # two warm-up runs that differ by less are the end of warming up
WARMUPS = 3
MEMORY_SHARE = 0.5  # of free memory, that the models of one session may take


RATIO = re.compile(r"(prefill|decode)_ratio(?:_b(\d+))?")
PLACES = {"prefill": Button(20), "decode": Button(10)}
TORCH_PLACES = {"prefill": Button(22, "prefill, of torch"), "decode": Button(12, "decode, of torch")}


OF_TORCH = re.compile(r"(prefill|decode)_of_torch(?:_b(\d+))?")


def of_torch(phase: str, batch: int | None = None, column: Column | None = None) -> Quantity:
    """Return a phase's throughput in the row's runtime, relative to dense in torch.

    At batch 1 where none is named.
    """
    return Quantity(
        f"{phase}_of_torch_b{batch}" if batch else f"{phase}_of_torch",
        f"{phase} b{batch}, of torch" if batch else f"{phase}, of torch",
        *("×", "higher", "decimal", 1.0, f"{phase} throughput, × dense in torch (batch {batch or 1})"),
        fronts=True,
        column=column or Column(57, 0.4, "interval", 0.04),
        button=None if batch else TORCH_PLACES[phase],
        meaning=f"tokens a second in {phase} at batch {batch or 1} in the row's runtime, as a ratio to dense in torch",
    )


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
        meaning=f"tokens a second in {phase} at batch {batch or 1}, as a ratio to dense in the same runtime",
    )


class Speed(Measure):
    """Prefill and decode throughput at each batch size, as ratios to dense (above 1: faster than dense).

    In another `runtime` than torch ratios are to the dense model in that runtime, and the dense model in torch is timed beside
    them. All variants of a session are timed once a round, each round in another (seeded) order, so that a machine that drifts
    drifts for all of them and none profits from its neighbour; batch sizes come one after the other. The dense row is a
    second copy of the dense model: what it misses of 1 is the noise.
    """

    NAME = KIND = "speed"
    TIMED: ClassVar[bool] = True
    BESIDE_DENSE: ClassVar[bool] = True
    IN_RUNTIMES: ClassVar[bool] = True
    LATER: ClassVar[frozenset[str]] = frozenset({"runtime", "library"})
    QUANTITIES: ClassVar[tuple[Quantity, ...]] = (
        ratio("prefill", column=Column(40, 6, "interval", 0.6)),
        ratio("decode", column=Column(42, 7, "interval", 0.7)),
        ratio("prefill", 8, Column(44, 1, "interval", 0.1)),
        ratio("decode", 8, Column(46, 1.5, "interval", 0.15)),
        of_torch("prefill", column=Column(48, 6.5, "interval", 0.65)),
        of_torch("decode", column=Column(50, 7.5, "interval", 0.75)),
    )
    fingerprint: str
    rounds: int = 7
    prompt_tokens: int = 128
    generate_tokens: int = 16
    batches: tuple[int, ...] = (1, 8)
    runtime: str = TORCH
    library: str = ""  # version of what computes, of another runtime than torch

    @classmethod
    def of_run(cls, settings: MeasureConfig, fingerprint: str) -> Speed:
        names = ("rounds", "prompt_tokens", "generate_tokens", "batches")
        return cls(fingerprint=fingerprint, **{name: getattr(settings, name) for name in names})

    @classmethod
    def quantity(cls, key: str) -> Quantity | None:
        if told := super().quantity(key):
            return told
        for pattern, made in ((RATIO, ratio), (OF_TORCH, of_torch)):
            if matched := pattern.fullmatch(key):
                return made(matched[1], int(matched[2]) if matched[2] else None)
        return None

    @classmethod
    def row(cls, result: Mapping[str, Any]) -> dict[str, Any]:
        row = {"contended": result["contention"]["contended"], "contention": json.dumps(result["contention"])}
        for kind, ratios in result["ratios"].items():
            phase, batch = kind.split("_b")
            name = f"{phase}_ratio" + (f"_b{batch}" if batch != "1" else "")
            row |= {name: ratios["ratio"], f"{name}_low": ratios["low"], f"{name}_high": ratios["high"]}
            row[f"{kind}.tokens_per_second"] = ratios["tokens_per_second"]
            row[f"{kind}.p_value"] = ratios["p_value"]
            if of := ratios.get("of_torch"):
                name = name.replace("_ratio", "_of_torch")
                row |= {name: of["ratio"], f"{name}_low": of["low"], f"{name}_high": of["high"]}
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
        timers = self._timers(works)
        watch = Contention()
        samples: dict[str, list[list[float]]] = {}
        generator = np.random.default_rng(0)
        runs = [(batch, done) for batch in self.batches for done in range(-1, self.rounds)]
        for batch, done in progress.track(runs, "rounds"):
            timed = {}
            for index in generator.permutation(len(timers)):
                run = partial(timers[index], batch, self.prompt_tokens, self.generate_tokens)
                timed[index] = warm_up(run) if done < 0 else run()
            for kind, column in (("prefill", 0), ("decode", 1)) if done >= 0 else ():
                samples.setdefault(f"{kind}_b{batch}", []).append(
                    [timed[index][column] for index in range(len(timers))]
                )
        busy = watch.stop()
        references = len(timers) - len(works)
        for index, work in enumerate(works):
            said = {"contention": busy, "session": len(works), "threads": environment.threads()}
            work.result |= said | self._summary(samples, references + index, references - 1)

    def _timers(self, works: Sequence[Work]) -> list[Callable[[int, int, int], tuple[float, float]]]:
        """Return what times the dense model in torch and each variant.

        In another runtime it times the dense model there too.
        """
        from harness.models import checkpoint

        dense = works[0].checkpoint(works[0].needs[:1])
        if self.runtime == TORCH:
            folders = [dense, *(work.checkpoint() for work in works)]
            return [in_torch(in_memory(checkpoint.load(folder, works[0].device))) for folder in folders]
        kind, tokens = runtime(self.runtime), self.prompt_tokens + self.generate_tokens + 1
        artifacts = [works[0].artifact(works[0].needs[1]), *(work.artifact() for work in works)]
        engines = [
            kind.engine(folder, threads=environment.threads(), batch=max(self.batches), tokens=tokens)
            for folder in artifacts
        ]
        timers = [partial(engine.generate_seconds, clock=time.perf_counter) for engine in engines]
        return [in_torch(in_memory(checkpoint.load(dense, works[0].device))), *timers]

    def _summary(self, samples: dict[str, list[list[float]]], column: int, dense: int) -> dict[str, Any]:
        from harness.evaluation.ranks import mann_whitney
        from harness.evaluation.statistics import ratio_interval

        summary: dict[str, Any] = {"samples": {}, "ratios": {}}
        for name, rows in samples.items():
            times = np.array(rows)  # (rounds, models), seconds
            tokens = int(name.rsplit("b", 1)[1]) * (
                self.prompt_tokens if name.startswith("prefill") else self.generate_tokens
            )
            ratio, low, high = ratio_interval(times[:, dense], times[:, column])
            summary["samples"][name] = {"dense_seconds": times[:, dense].tolist(), "seconds": times[:, column].tolist()}
            summary["ratios"][name] = {
                "ratio": ratio,
                "low": low,
                "high": high,
                "tokens_per_second": tokens / float(np.median(times[:, column])),
                "p_value": mann_whitney(times[:, dense], times[:, column]),
            }
            if dense:
                of = dict(zip(("ratio", "low", "high"), ratio_interval(times[:, 0], times[:, column]), strict=True))
                summary["ratios"][name]["of_torch"] = of
                summary["samples"][name]["torch_seconds"] = times[:, 0].tolist()
        return summary


def in_torch(model: Any) -> Callable[[int, int, int], tuple[float, float]]:
    """Return what times a model of transformers at (batch, prompt, count)."""
    return partial(generate_seconds, model)


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
    """Return the seconds of a prefill of (batch, prompt) tokens and of `count` steps behind it.

    Steps are greedy, of a single token.

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
