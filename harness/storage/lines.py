"""JSON lines that only grow, each with a checksum: what a killed step knew, read back to the line.

Damage is told, never believed.
"""

from __future__ import annotations

import json
import time
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from harness import progress


def append(path: Path, entries: Iterable[Any]) -> None:
    """Add a line for each entry, anything that JSON holds."""
    with path.open("a", encoding="ascii") as stream:
        stream.write("".join(f"{text}\t{_sum(text)}\n" for text in map(json.dumps, entries)))


def read(path: Path) -> list[Any]:
    """Return the entries in order; none for no file. A last line that a kill tore is dropped.

    Any other line that is not as it was written is left out and told; the file as it was is kept beside the new one.
    """
    if not path.is_file():
        return []
    whole, last, torn = path.read_bytes().rpartition(b"\n")
    lines = whole.split(b"\n") if last else []
    sound = [line for line in lines if _is_sound(line)]
    if len(sound) < len(lines):
        aside = set_aside(path)
        lost = len(lines) - len(sound)
        progress.notice(f"{path.name}: {lost} of {len(lines)} lines are damaged; kept as {aside.name}, and done again")
    if len(sound) < len(lines) or torn:
        path.write_bytes(b"".join(line + b"\n" for line in sound))
    return [json.loads(line.rpartition(b"\t")[0]) for line in sound]


def set_aside(path: Path) -> Path:
    """Move a file of ours that cannot be used out of the way, and return its new place.

    The new place is beside the old one.
    """
    return path.rename(path.with_name(f"{path.name}.damaged-{time.time_ns()}"))


def _is_sound(line: bytes) -> bool:
    text, _, checksum = line.rpartition(b"\t")
    try:
        return checksum.decode("ascii") == _sum(text.decode("ascii"))
    except UnicodeDecodeError:
        return False


def _sum(text: str) -> str:
    return f"{zlib.crc32(text.encode('ascii')):08x}"
