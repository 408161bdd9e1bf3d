"""The gguf library's reader, three times as fast.

It cuts a file into half a million pieces, and pieces of a memmap are slow.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gguf as library
import numpy as np

gguf: Any = library


class Reader(gguf.GGUFReader):
    """Reads the same from a plain array over the mapped file."""

    @property
    def data(self) -> np.ndarray:
        """The file's bytes (size,)."""
        return self._data

    @data.setter
    def data(self, mapped: np.ndarray) -> None:
        self._data = np.asarray(mapped)


def read(path: Path | str) -> Any:
    """Return the fields and tensors of a GGUF file."""
    return Reader(str(path))
