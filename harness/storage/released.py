"""Steps whose weights were let go once they were measured.

Record and small files stay, and a mark names what is gone.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from harness.storage.sealed import Damaged, read_sealed, write_sealed

MARK = "released.json"
WEIGHTS = (".safetensors", ".gguf")


def released(folder: Path) -> frozenset[str]:
    """Return the names of the files that were let go from a step's folder.

    None where its mark is not there or damaged.
    """
    if not (folder / MARK).is_file():
        return frozenset()
    try:
        return frozenset(read_sealed(folder / MARK).get("files", ()))
    except Damaged:
        return frozenset()


def release(folder: Path, files: Iterable[str]) -> int:
    """Delete a step's weights, those among `files`, and return their bytes.

    The mark is written first, so a kill loses nothing.
    """
    names = [name for name in files if name.endswith(WEIGHTS)]
    freed = sum((folder / name).stat().st_size for name in names if (folder / name).is_file())
    if names:
        write_sealed(folder / MARK, {"files": names})
    for name in names:
        (folder / name).unlink(missing_ok=True)
    return freed
