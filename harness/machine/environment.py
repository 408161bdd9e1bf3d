"""What machine and which versions this is, and whether the machine was busy with other work."""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import json
import os
import platform
import re
import subprocess
import time
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import psutil

PACKAGES = (
    "torch",
    "transformers",
    "lm-eval",
    "peft",
    "torchao",
    "pymoo",
    "numpy",
    "cyllama",
    "llm-compression-harness",
)
BUSY = 0.3  # cores used by others, or stolen, above which a timing is marked contended


@cache
def cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else ():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


@cache
def cpu_flags() -> frozenset[str]:
    for line in Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else ():
        if line.startswith("flags"):
            return frozenset(line.split(":", 1)[1].split())
    return frozenset()


def has_bfloat16(device: str = "auto") -> bool:
    """Tell whether what a run computes on multiplies bfloat16 natively.

    avx512_bf16 or amx_bf16, or a CUDA device in use.
    """
    uses_cuda = device != "cpu" and bool(accelerators()) and torch_has_cuda()
    return uses_cuda or bool({"avx512_bf16", "amx_bf16"} & cpu_flags())


@cache
def torch_has_cuda() -> bool:
    """Tell whether the installed torch was built for CUDA, without importing it."""
    package = importlib.util.find_spec("torch")
    if package is None or not package.submodule_search_locations:
        return False
    written = Path(package.submodule_search_locations[0]) / "version.py"
    said = re.search(r"^cuda\b[^=]*=\s*(.+)$", written.read_text(), re.MULTILINE) if written.is_file() else None
    return said is not None and said[1].strip() != "None"


@cache
def accelerators() -> tuple[str, ...]:
    """Return the names of CUDA devices without starting CUDA in this process."""
    try:
        listed = subprocess.run(
            ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"],
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return ()
    return tuple(line.strip() for line in listed.stdout.splitlines() if line.strip())


def threads() -> int:
    """Return how many threads torch will use here.

    Of OMP_NUM_THREADS the first number, which is the outermost level's.
    """
    written = re.match(r"\s*(\d+)\s*(,|$)", os.environ.get("OMP_NUM_THREADS", ""))
    return int(written[1]) if written and int(written[1]) else len(os.sched_getaffinity(0))


@cache
def commit() -> str:
    """Return the commit of the checkout this code runs from, or "" when installed."""
    folder = Path(__file__).resolve().parent
    try:
        asked = subprocess.run(
            ["git", "rev-parse", "--short", "HEAD"], cwd=folder, capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return asked.stdout.strip()


@cache
def version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "absent"


def missing(extra: str, *packages: str) -> str:
    """Return which distributions are absent and the command that installs them; empty where none is."""
    return needs(extra, [package for package in packages if version(package) == "absent"])


def needs(extra: str, absent: Sequence[str]) -> str:
    """Return the words for what is absent, which the project's `extra` installs; empty for nothing."""
    return f"needs {' and '.join(absent)}, which is not installed: pip install '.[{extra}]'" if absent else ""


@cache
def environment() -> dict[str, str]:
    """Return the record that every step carries.

    Processor, memory, versions, threads, commit, fingerprint.
    """
    record = {
        "cpu": cpu_model(),
        "cores": str(len(os.sched_getaffinity(0))),
        "memory_gib": str(round(psutil.virtual_memory().total / 2**30)),
        "accelerators": ", ".join(accelerators()) or "none",
        "threads": str(threads()),
        "platform": platform.platform(),
        "python": platform.python_version(),
        **{package: version(package) for package in PACKAGES},
        "commit": commit(),
    }
    return {**record, "fingerprint": fingerprint()}


@cache
def fingerprint() -> str:
    """Return 16 hex digits for this hardware, thread count and torch.

    Speeds of different ones are never compared.
    """
    parts = [
        cpu_model(),
        len(os.sched_getaffinity(0)),
        round(psutil.virtual_memory().total / 2**30),
        accelerators(),
        threads(),
        version("torch"),
    ]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


class Contention:
    """Watches between start and `stop` how much of the machine others used."""

    def __init__(self) -> None:
        self._before = _cpu_seconds()

    def stop(self) -> dict[str, Any]:
        """Return load average, cores used by other processes, cores stolen by the hypervisor, and the verdict."""
        wall, busy, stolen, own = (after - before for after, before in zip(_cpu_seconds(), self._before, strict=True))
        others = max(busy - own, 0.0) / max(wall, 1e-9)
        stolen_cores = stolen / max(wall, 1e-9)
        return {
            "load_average": os.getloadavg()[0],
            "other_cores": round(others, 3),
            "stolen_cores": round(stolen_cores, 3),
            "contended": others > BUSY or stolen_cores > BUSY,
        }


def _cpu_seconds() -> tuple[float, float, float, float]:

    times, mine = psutil.cpu_times(), psutil.Process().cpu_times()
    busy = times.user + times.system + getattr(times, "nice", 0.0)
    return time.monotonic(), busy, getattr(times, "steal", 0.0), mine.user + mine.system
