"""Members of the paper's space at a body's geometry.

Its corners, and samples of one size with other mixes of depth and width. Pure.
"""

from __future__ import annotations

import numpy as np

from harness.nas.architecture import Architecture
from harness.nas.space import Space

WITHIN = 0.01  # share of the wanted parameters that a sample may be off


def corners(space: Space) -> dict[str, Architecture]:
    """Return the four members of most and fewest layers, all wide and all narrow.

    The first is the whole network.
    """
    tops = space.upper()
    members = {}
    for depth in (tops[0], 0):
        for width in (tops[1:], 0 * tops[1:]):
            one = space.decode(np.concatenate([[depth], width]))
            layers = len(one.kept())
            members[f"{layers} layers, {0 if width.any() else layers} narrow"] = one
    return members


def mixes(space: Space, size: float, count: int, seed: int) -> dict[str, Architecture]:
    """Return up to `count` members per depth that are within 1 % of `size`.

    That is a share of the dense parameters.

    Every depth that can reach it takes the number of narrow layers that comes nearest; which ones is drawn.
    """
    generator = np.random.default_rng(seed)
    members: dict[str, Architecture] = {}
    for depth in range(int(space.upper()[0]), -1, -1):
        layers = space.decode(np.concatenate([[depth], space.upper()[1:]])).kept()
        for number in range(count):
            order = generator.permutation(layers)
            genomes = np.tile(np.concatenate([[depth], space.upper()[1:]]), (len(layers) + 1, 1))
            for narrow in range(1, len(layers) + 1):
                genomes[narrow:, 1 + order[narrow - 1]] = 0
            gaps = np.abs(space.sizes(genomes) / size - 1)
            nearest = int(gaps.argmin())
            if gaps[nearest] <= WITHIN:
                name = f"{len(layers)} layers, {nearest} narrow" + (f" #{number + 1}" if count > 1 else "")
                members[name] = space.decode(genomes[nearest])
    return members
