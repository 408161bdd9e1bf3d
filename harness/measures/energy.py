"""The step that measures the energy of a token, in prefill and in decoding.

The machine's own counters tell it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from harness import progress
from harness.machine.counters import counters
from harness.measures.measure import Measure
from harness.quantities import Button, Column, Quantity
from harness.spec import Cost, Work

if TYPE_CHECKING:
    from harness.config import MeasureConfig

WINDOW = 1.0  # seconds at least that a reading spans: RAPL counts every millisecond, NVML some ten times a second


def joules_a_token(phase: str, place: float) -> Quantity:
    """Return the energy of a token in a phase, of everything that the counters see, idle power included."""
    return Quantity(
        *(f"{phase}_joules", f"{phase} energy", "J/token", "lower", "significant", 1.0, f"energy, J/token in {phase}"),
        fronts=True,
        gate="relative",
        column=Column(place, 4, "interval", 0.4),
        button=Button(place + 10),
        meaning=f"energy of a token in {phase} at batch 1, of all that the counters see, idle power included",
    )


class Energy(Measure):
    """Joules a token at batch 1, the median of rounds with its interval by bootstrap.

    Not less what an idle machine takes.

    The counters are RAPL's (packages and memory) and, on a GPU, NVML's; a reading spans WINDOW seconds of repeated work.
    """

    NAME = KIND = "energy"
    TIMED: ClassVar[bool] = True
    QUANTITIES: ClassVar[tuple[Quantity, ...]] = (joules_a_token("prefill", 50), joules_a_token("decode", 52))
    fingerprint: str
    rounds: int = 7
    prompt_tokens: int = 128
    generate_tokens: int = 16

    @classmethod
    def of_run(cls, settings: MeasureConfig, fingerprint: str) -> Energy:
        names = ("rounds", "prompt_tokens", "generate_tokens")
        return cls(fingerprint=fingerprint, **{name: getattr(settings, name) for name in names})

    @classmethod
    def unavailable(cls, device: str) -> str:
        try:
            counters(device)
        except ValueError as error:
            return str(error)
        return ""

    @classmethod
    def row(cls, result: Mapping[str, Any]) -> dict[str, Any]:
        row = {name: result[name] for name in ("idle_watts", "energy_counters")}
        for phase in ("prefill", "decode"):
            names = ("", "_low", "_high")
            row |= {f"{phase}_joules{end}": result[f"{phase}_joules{end}"] for end in names}
            row[f"{phase}_watts"] = result[f"{phase}_watts"]
        return row

    def longest(self) -> tuple[str, int]:
        return "measure.prompt_tokens + measure.generate_tokens", self.prompt_tokens + self.generate_tokens

    def cost(self) -> Cost:
        return Cost(seconds=2 + WINDOW * (2 * self.rounds + 1))

    def run(self, work: Work) -> None:
        from harness.measures.speed import generate_seconds, in_memory
        from harness.models import checkpoint

        model = in_memory(checkpoint.load(work.checkpoint(), work.device))
        meters = counters(work.device)

        def clock() -> np.ndarray:
            """Return seconds and joules."""
            return np.array([time.perf_counter(), sum(meter.joules() for meter in meters)])

        before = clock()
        time.sleep(WINDOW)
        idle = clock() - before

        def once() -> tuple[Any, Any]:
            return generate_seconds(model, 1, self.prompt_tokens, self.generate_tokens, clock)

        once()  # warms up
        samples = np.array([spent(once) for _ in progress.track(range(self.rounds), "rounds")])  # (rounds, phases, 2)
        work.result |= {
            "energy_counters": ", ".join(meter.name for meter in meters),
            "idle_watts": float(idle[1] / idle[0]),
            **_summary("prefill", samples[:, 0], self.prompt_tokens),
            **_summary("decode", samples[:, 1], self.generate_tokens),
        }


def spent(once: Callable[[], tuple[Any, Any]]) -> np.ndarray:
    """Return the mean seconds and joules (phases, 2) of prefill and decoding.

    Each seen for WINDOW seconds at least.
    """
    total, times = np.zeros((2, 2)), 0
    while total[:, 0].min() < WINDOW:
        total += np.array(once())
        times += 1
    return total / times


def _summary(phase: str, samples: np.ndarray, tokens: int) -> dict[str, Any]:
    """Return the joules a token of a phase and its interval.

    From seconds and joules (rounds, 2) of so many tokens.
    """
    from harness.evaluation.statistics import ratio_interval

    value, low, high = ratio_interval(samples[:, 1], np.full(len(samples), float(tokens)))
    return {
        f"{phase}_joules": value,
        f"{phase}_joules_low": low,
        f"{phase}_joules_high": high,
        f"{phase}_watts": float(np.median(samples[:, 1] / samples[:, 0])),
        f"{phase}_samples": samples.tolist(),
    }
