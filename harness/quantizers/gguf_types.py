"""The types that llama.cpp's quantizer writes: whole numbers and a scale for every 32 weights, or for 256 in two steps.

A matrix whose rows are no multiple of 256 has the next larger type of 32 instead of a K type, as llama.cpp decides.
"""

from __future__ import annotations

from typing import ClassVar

from harness.spec import Quantizer


class Q8_0(Quantizer):
    """8 bits and a scale for every 32 weights, embeddings among them: 8.5 bits a weight."""

    NAME = "q8_0"
    SHARE = 0.54
    RUNTIMES: ClassVar[frozenset[str]] = frozenset({"llamacpp"})


class Q6K(Quantizer):
    """6 bits in blocks of 256: 6.56 bits a weight; q8_0 where rows are no multiple of 256."""

    NAME = "q6_k"
    SHARE = 0.54
    RUNTIMES: ClassVar[frozenset[str]] = frozenset({"llamacpp"})


class Q5KM(Quantizer):
    """5 bits in blocks of 256, half of the values and MLP outputs in 6: some 5.7 bits a weight."""

    NAME = "q5_k_m"
    SHARE = 0.45
    RUNTIMES: ClassVar[frozenset[str]] = frozenset({"llamacpp"})


class Q4KM(Quantizer):
    """4 bits in blocks of 256, half of the values and MLP outputs in 6: some 4.9 bits a weight."""

    NAME = "q4_k_m"
    SHARE = 0.4
    RUNTIMES: ClassVar[frozenset[str]] = frozenset({"llamacpp"})


class Q4_0(Quantizer):
    """4 bits and a scale for every 32 weights, the embeddings in 8 where they are the head: 4.5 bits a weight."""

    NAME = "q4_0"
    SHARE = 0.35
    RUNTIMES: ClassVar[frozenset[str]] = frozenset({"llamacpp"})
