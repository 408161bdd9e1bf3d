"""From a share of the dense model's bytes to the share of its parameters that fills it.

How many that are depends on the quantizer. Pure.
"""

from __future__ import annotations

import math
from typing import NamedTuple

BITS = {"float32": 32, "bfloat16": 16, "float16": 16}  # a weight of a dtype
HALF = 16  # bits a weight of the dense model that shares are of, whatever the run computes in


class Outline(NamedTuple):
    """What of a model decides its bytes beside its layers."""

    parameters: int
    tokens: int  # of the vocabulary
    hidden: int
    tied: bool  # the head is the embeddings
    layers: int = 0
    angles: int = 0  # rotary angles of all positions: positions x head_dim

    @property
    def outside(self) -> int:
        """Return the parameters of embeddings and head."""
        return self.tokens * self.hidden * (1 if self.tied else 2)


def share_of_dense(taken: float, parameters: float) -> float:
    """Return bytes as a share of those that the dense model's parameters take in 16 bits."""
    return taken / (parameters * HALF / 8)


def budget(share: float, outline: Outline, bits: tuple[float, float], header: float) -> float | None:
    """Return the share of the parameters whose weights take `share` of the dense bytes in 16 bits.

    `bits` a weight in the layers and outside of them, `header` bytes of what is no weight. None: embeddings alone take more.
    More than 1: the whole model takes less.
    """
    inside_bits, outside_bits = bits
    room = share * outline.parameters * HALF / 8 - header - outline.outside * outside_bits / 8
    if room <= 0:
        return None
    whole = (room * 8 / inside_bits + outline.outside) / outline.parameters
    return math.floor(whole * 1e4) / 1e4
