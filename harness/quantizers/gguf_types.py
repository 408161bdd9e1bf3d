"""The types that llama.cpp's quantizer writes: whole numbers and a scale for every 32 weights.

Or for 256 in two steps.

A matrix whose rows are no multiple of 256 has the next larger type of 32 instead of a K type, as llama.cpp decides.
"""

from __future__ import annotations

from typing import ClassVar

from harness.spec import Quantizer

WIDE = 256  # weights of a block of K types: what rows must be a multiple of


class GgufType(Quantizer):
    """A type of files, with the bits that a weight takes.

    IN_BLOCKS where rows are whole blocks of 256, ELSEWHERE where they are not.
    Of the mixed types (`_M`), in which some matrices have the larger type, these are averages: ELSEWHERE is what the files of
    SmolLM2-135M at 0.8 have, IN_BLOCKS what is usual for large models (Llama-3.1-8B: 4.9) and was not measured here.
    """

    RUNTIMES: ClassVar[frozenset[str]] = frozenset({"llamacpp"})
    IN_BLOCKS: ClassVar[float]
    ELSEWHERE: ClassVar[float]
    HEAD: ClassVar[tuple[float, float]] = (6.5625, 8.5)  # of the head: Q6_K, and Q8_0 where rows are no whole blocks

    def bits(self, working: int, hidden: int, tied: bool) -> tuple[float, float]:
        narrow = bool(hidden % WIDE)
        layers, head = (self.IN_BLOCKS, self.ELSEWHERE)[narrow], max(self.HEAD[narrow], self.IN_BLOCKS)
        return layers, head if tied else (head + layers) / 2


class Q8_0(GgufType):
    """8 bits and a scale for every 32 weights, embeddings among them: 8.5 bits a weight."""

    NAME = "q8_0"
    SHARE = 0.54
    IN_BLOCKS = ELSEWHERE = 8.5


class Q6K(GgufType):
    """6 bits in blocks of 256: 6.56 bits a weight; q8_0 where rows are no multiple of 256."""

    NAME = "q6_k"
    SHARE = 0.54
    IN_BLOCKS, ELSEWHERE = 6.5625, 8.5


class Q5KM(GgufType):
    """5 bits in blocks of 256, half of the values and MLP outputs in 6: some 5.7 bits a weight."""

    NAME = "q5_k_m"
    SHARE = 0.45
    IN_BLOCKS, ELSEWHERE = 5.7, 6.24


class Q4KM(GgufType):
    """4 bits in blocks of 256, half of the values and MLP outputs in 6: some 4.9 bits a weight."""

    NAME = "q4_k_m"
    SHARE = 0.4
    IN_BLOCKS, ELSEWHERE = 4.9, 5.8


class Q4_0(GgufType):
    """4 bits and a scale for every 32 weights, the head in 6 or 8: 4.5 bits a weight."""

    NAME = "q4_0"
    SHARE = 0.35
    IN_BLOCKS = ELSEWHERE = 4.5
