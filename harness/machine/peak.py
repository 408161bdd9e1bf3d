"""The most memory that this process has held."""

from __future__ import annotations

import resource
from pathlib import Path


def reset_peak() -> None:
    """Start a new peak of this process's resident set, where the kernel allows it."""
    clear = Path("/proc/self/clear_refs")
    if clear.exists():
        clear.write_text("5")


def peak_bytes() -> int:
    """Return the peak resident set of this process in bytes since `reset_peak`."""
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
