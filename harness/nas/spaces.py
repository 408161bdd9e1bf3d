"""The search spaces by name. Each is a list of axes: what varies, and over which values."""

from __future__ import annotations

from harness.nas.axes import Axis, Depth, Groups, Heads, Hidden, Layers, Neurons, Width
from harness.words.nearest import nearest

EIGHTHS = tuple(step / 8 for step in range(1, 9))
TWELFTHS = tuple(step / 12 for step in range(1, 13))

SPACES: dict[str, tuple[Axis, ...]] = {
    # LLaMA-NAS (arXiv 2405.18377): 24, 28 or 32 of 32 layers, and MLP width 5504 or 11008 in each
    "llama_nas": (Depth((0.75, 0.875, 1.0)), Width((0.5, 1.0))),
    # every layer for itself: MLP width in eighths or none, key-value groups one by one or no attention
    "fine": (Groups(least=0), Width((0.0, *EIGHTHS))),
    # Klein et al. (arXiv 2405.02267), section 3.1: heads, units and layers, one number of each for the whole network
    "small": (Depth(), Groups(scope="network"), Width(TWELFTHS, scope="network")),
    # ... heads and units per layer
    "medium": (Groups(), Width(TWELFTHS)),
    # ... whole layers, one bit each
    "layer": (Layers(),),
    # ... every head and every unit, one bit each
    "large": (Heads(), Neurons()),
    # Automated Sub-Network Search (arXiv 2410.06479): embedding width, heads, MLP ratio and depth, the same in all layers
    "joint": (
        Hidden((0.5, 0.625, 0.75, 0.875, 1.0)),
        Groups(scope="network"),
        Width(EIGHTHS[3:], scope="network"),
        Depth(),
    ),
}


def axes(name: str) -> tuple[Axis, ...]:
    """Return the axes of a space; ValueError names the nearest one."""
    if name not in SPACES:
        raise ValueError(f"search space {name} is unknown; {nearest(name, list(SPACES))}")
    return SPACES[name]
