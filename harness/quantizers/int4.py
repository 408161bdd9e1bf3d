"""int4 weight-only: 4 bits a weight in groups of a row that share a scale and a zero."""

from __future__ import annotations

from typing import ClassVar

from harness.spec import Quantizer


class Int4(Quantizer):
    """Round-to-nearest 4-bit weights in groups of 64, embeddings and head in 8 bits."""

    NAME = "int4"
    SHARE = 0.4
    RUNTIMES: ClassVar[frozenset[str]] = frozenset({"openvino"})

    def bits(self, working: int, hidden: int, tied: bool) -> tuple[float, float]:
        return 4 + (16 + 4) / 64, 8 + 24 / hidden  # a scale and a zero for each group, or for each row
