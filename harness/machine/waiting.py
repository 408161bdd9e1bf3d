"""How the threads of a step wait for one another.

Awake, or asleep where others hold a core that they would spin on.

Two OpenMP threads on a machine where another process holds a core spend their time spinning on what the other cannot do. The
number of threads stays as it is, so that sums have their order and results their bits.
"""

from __future__ import annotations

import os

import psutil

from harness.machine.environment import BUSY, threads

POLICY = "OMP_WAIT_POLICY"
CHOSEN = (POLICY, "GOMP_SPINCOUNT", "KMP_BLOCKTIME")  # whoever sets one of these has chosen
GLANCE, LOOK = 0.05, 0.4  # seconds that the machine is watched, and again where it seemed busy


def others(seconds: float) -> float:
    """Return how many cores are in use on this machine, watched for so long while we do nothing."""
    return psutil.cpu_percent(interval=seconds) / 100 * (psutil.cpu_count() or 1)


def crowded() -> bool:
    """Tell whether others hold cores that our threads would have, and nobody has chosen how they wait."""
    if threads() < 2 or any(os.environ.get(name) for name in CHOSEN):
        return False
    left = (psutil.cpu_count() or 1) - threads()  # cores that we do not ask for
    return all(others(seconds) > left + BUSY for seconds in (GLANCE, LOOK))
