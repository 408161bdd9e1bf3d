"""Folders that will be written into.

Tried before the work, so that nothing is lost to a bad last place.
"""

from __future__ import annotations

import os
from pathlib import Path


def writable(folder: Path, key: str) -> None:
    """Raise ValueError where no file can be written into `folder`, named by `key=`; leaves nothing behind."""
    place = folder
    made = [parent for parent in (place, *place.parents) if not parent.exists()]
    try:
        place.mkdir(parents=True, exist_ok=True)
        probe = place / f".probe-{os.getpid()}"
        probe.write_bytes(b"x")
        probe.unlink()
    except RecursionError:  # a folder in a thousand others, each of which pathlib makes before the next
        raise ValueError(f"{key}={str(folder)[:80]}... cannot be written: it lies too deep; choose another") from None
    except OSError as error:
        raise ValueError(
            f"{key}={folder} cannot be written: {error.strerror or error}; choose another with {key}=FOLDER"
        ) from None
    finally:
        for parent in made:
            if parent.is_dir() and not any(parent.iterdir()):
                parent.rmdir()
