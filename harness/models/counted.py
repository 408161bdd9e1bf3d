"""How many parameters a model's files hold, from their headers alone: no weight is read."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any


def in_folder(folder: Path) -> int:
    """Return the elements of all tensors in the folder's safetensors files; tied weights are stored, and counted, once."""
    from safetensors import safe_open

    total = 0
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, framework="numpy") as file:
            total += sum(math.prod(file.get_slice(name).get_shape()) for name in file.keys())
    return total


def in_gguf(path: Path) -> int:
    """Return the elements of all tensors in a GGUF file."""
    import gguf as library

    gguf: Any = library
    return sum(int(tensor.n_elements) for tensor in gguf.GGUFReader(path).tensors)
