"""How many parameters a model's files hold, from their headers alone: no weight is read."""

from __future__ import annotations

import math
from functools import cache
from pathlib import Path
from typing import NamedTuple

from harness.models.files import weights
from harness.words.reasons import one_line


def in_folder(folder: Path) -> int:
    """Return the elements of all tensors that are loaded from a folder.

    Tied weights are stored, and counted, once.

    ValueError for a file that is no safetensors file.
    """
    from safetensors import SafetensorError, safe_open

    total = 0
    for path in weights(folder):
        try:
            with safe_open(path, framework="numpy") as file:
                total += sum(math.prod(file.get_slice(name).get_shape()) for name in file.keys())
        except SafetensorError as error:
            raise ValueError(f"{path} {unreadable(path)}: {error}") from None
    return total


def unreadable(path: Path) -> str:
    """Return what a file of weights that cannot be read seems to be."""
    with path.open("rb") as stream:
        start = stream.read(64)
    if start.startswith(b"version https://git-lfs"):
        return "is a Git LFS pointer and not the weights (git lfs pull fetches them)"
    return "is empty" if not start else "is no whole file of weights, or cut short"


class Header(NamedTuple):
    """What the header of a GGUF file says; `context` is None where it does not."""

    elements: int  # of all tensors
    architecture: str
    context: int | None


def in_gguf(path: Path) -> Header:
    """Return what a GGUF file's header says of the whole model."""
    return _header(path, path.stat().st_mtime_ns)


@cache
def _header(path: Path, _: int) -> Header:  # parsing takes seconds: once for each state of the file
    from harness.models import gguf_reader

    try:
        file = gguf_reader.read(path)
        architecture = file.get_field("general.architecture").contents()
        count = sum(int(tensor.n_elements) for tensor in file.tensors)
        context = file.get_field(f"{architecture}.context_length")
    except Exception as error:  # the reader checks nothing: a cut file ends in whatever numpy raises
        raise ValueError(f"model={path} {unreadable(path)}: {one_line(error)}") from None
    return Header(count, architecture, int(context.contents()) if context is not None else None)
