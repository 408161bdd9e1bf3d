"""What two ways of scoring the same candidates cost.

Alternately in one process, and the peak memory of each in a fresh one.
"""

from __future__ import annotations

import gc
import logging
import multiprocessing
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass, field
from io import StringIO
from multiprocessing.connection import Connection
from statistics import median
from typing import Any

import numpy as np

from harness.evaluation.ranks import kendall

Scores = dict[str, np.ndarray]  # measure -> its value for each candidate (candidates,)


@dataclass
class Way:
    """CPU and wall seconds of each pass over all candidates, and what it found."""

    cpu: list[float] = field(default_factory=list)
    wall: list[float] = field(default_factory=list)
    scores: Scores = field(default_factory=dict)

    @contextmanager
    def timed(self) -> Iterator[None]:
        """Add what the body took as one pass."""
        gc.collect()
        cpu, wall = time.process_time(), time.perf_counter()
        yield
        self.cpu.append(time.process_time() - cpu)
        self.wall.append(time.perf_counter() - wall)

    def a_minute(self, candidates: int) -> float:
        """Return candidates per minute of wall time, of the median pass."""
        return 60 * candidates / median(self.wall)


def alternating(
    ways: Mapping[str, Callable[[], Scores]], *, rounds: int, told: Callable[[str], object]
) -> dict[str, Way]:
    """Let each way score all candidates `rounds` times, in turns whose order alternates.

    `told` hears what is running.
    """
    measured = {name: Way() for name in ways}
    for number in range(rounds):
        for name in list(ways)[:: -1 if number % 2 else 1]:
            told(f"round {number + 1}/{rounds}, {name}")
            with measured[name].timed():
                measured[name].scores = ways[name]()
    return measured


def ratio(one: Sequence[float], other: Sequence[float]) -> float:
    """Return how many times more `one` took: the median over paired passes."""
    return median(left / right for left, right in zip(one, other, strict=True))


def tau(one: np.ndarray, other: np.ndarray) -> float | None:
    """Return Kendall's tau-b of two scores (n,); None where one of them is the same for all."""
    return None if np.ptp(one) == 0 or np.ptp(other) == 0 else kendall(one, other)


def fresh_peak(work: Callable[..., object], *arguments: Any) -> int:
    """Return the peak bytes of a fresh process that does `work`.

    Resident, or of the GPU where it used one.

    The kernel's mark of this address space: ru_maxrss would keep that of the process it was forked from.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["harness.executors.warm"])
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_peak, args=(theirs, work, arguments), daemon=True)
    process.start()
    theirs.close()
    try:
        peak = int(ours.recv())
    except BaseException as error:
        process.terminate()
        process.join()
        if isinstance(error, EOFError):
            raise RuntimeError("the process whose memory was watched ended early") from None
        raise
    process.join()
    return peak


def _peak(pipe: Connection, work: Callable[..., object], arguments: Sequence[Any]) -> None:
    import torch

    from harness.machine.peak import peak_bytes

    with hushed():
        work(*arguments)
    used = torch.cuda.is_available() and torch.cuda.is_initialized()
    pipe.send(torch.cuda.max_memory_allocated() if used else peak_bytes())


@contextmanager
def hushed() -> Iterator[None]:
    """Keep the bars and notices of lm-eval and transformers off the terminal."""
    loggers = [logging.getLogger(name) for name in ("lm_eval", "transformers")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with redirect_stderr(StringIO()):
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
