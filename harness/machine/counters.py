"""Counters of the energy that this machine has used.

RAPL of processors and memory, NVML of NVIDIA GPUs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

POWERCAP = Path("/sys/class/powercap")
DOMAINS = ("package", "dram")  # of RAPL: they do not contain one another


@dataclass
class Counter:
    """A counter of microjoules that begins anew at `wrap`; `joules` adds up what passed since it was made."""

    name: str
    read: Callable[[], int]
    wrap: int
    last: int = 0
    total: int = 0

    def __post_init__(self) -> None:
        self.last = self.read()

    def joules(self) -> float:
        """Return the joules since the counter was made; called more often than it wraps."""
        now = self.read()
        self.total += (now - self.last) % self.wrap
        self.last = now
        return self.total / 1e6


def counters(device: str) -> list[Counter]:
    """Return what counts the energy of work on a device.

    The processors' RAPL, and of work on CUDA that GPU's NVML.

    ValueError says why there is none, and what would make one readable.
    """
    meters = rapl()
    return [*meters, nvml(device)] if device.startswith("cuda") else meters


def rapl() -> list[Counter]:
    """Return a counter for each processor package and its memory; ValueError where none can be read."""
    folders = [path for path in sorted(POWERCAP.glob("intel-rapl:*")) if _domain(path) in DOMAINS]
    if not folders:
        raise ValueError(
            f"this machine shows no RAPL counter ({POWERCAP}); virtual machines and other processors have none"
        )
    try:
        return [_counter(path) for path in folders]
    except OSError as error:
        raise ValueError(
            f"{error.filename} cannot be read ({error.strerror}); RAPL is for root, or: sudo chmod a+r {POWERCAP}/*/energy_uj"
        ) from None


def _domain(folder: Path) -> str:
    path = folder / "name"
    return path.read_text().strip().partition("-")[0] if path.is_file() else ""


def _counter(folder: Path) -> Counter:
    """Return the counter of a RAPL domain, which is an energy in microjoules up to a maximum."""
    wrap = int((folder / "max_energy_range_uj").read_text()) + 1
    return Counter((folder / "name").read_text().strip(), lambda: int((folder / "energy_uj").read_text()), wrap)


def nvml(device: str) -> Counter:
    """Return the counter of a GPU, in millijoules since its driver was loaded.

    ValueError where it has none.
    """
    try:
        import pynvml
    except ImportError:
        raise ValueError("energy of a GPU is read by NVML: pip install nvidia-ml-py") from None
    try:
        pynvml.nvmlInit()
        handle: Any = pynvml.nvmlDeviceGetHandleByUUID(_uuid(device))
        pynvml.nvmlDeviceGetTotalEnergyConsumption(handle)
    except pynvml.NVMLError as error:
        raise ValueError(
            f"{device} tells no energy ({error}); GPUs before Volta and slices of a GPU have no counter"
        ) from None
    return Counter(device, lambda: 1000 * pynvml.nvmlDeviceGetTotalEnergyConsumption(handle), 2**63)


def _uuid(device: str) -> str:
    """Return NVML's name of torch's device: their numbers differ where CUDA_VISIBLE_DEVICES says so."""
    import torch

    index = int(device.partition(":")[2] or torch.cuda.current_device())
    return f"GPU-{torch.cuda.get_device_properties(index).uuid}"
