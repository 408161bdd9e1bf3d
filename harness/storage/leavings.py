"""What a store holds that no report reads: weights of measured variants, and what was set aside."""

from __future__ import annotations

import shutil
from collections.abc import Sequence

from harness.storage.released import WEIGHTS
from harness.storage.store import Store, folder_bytes

SHARED = ("import", "supernet")  # kinds of steps whose weights many variants are made from
ASIDE = "corrupt"


def measured(store: Store) -> list[str]:
    """Return the keys of steps whose weights may go.

    Of variants that are measured whole, and of none that is not.
    """
    done: set[str] = set()
    needed: set[str] = set()
    for run in store.runs():
        for variant in run["variants"]:
            whole = all(store.has(key) for key in variant["measures"].values())
            (done if whole else needed).update(variant["chain"])
    held = [key for key in sorted(done - needed) if store.has(key) and not store.released(key)]
    return [key for key in held if store.record(key)["kind"] not in SHARED and weights(store, [key])]


def weights(store: Store, keys: Sequence[str]) -> int:
    """Return the bytes of the weights of steps."""
    files = [path for key in keys for path in store.folder(key).rglob("*") if path.name.endswith(WEIGHTS)]
    return sum(path.stat().st_size for path in files)


def aside(store: Store) -> int:
    """Return the bytes of what was set aside as damaged."""
    return folder_bytes(store.root / ASIDE)


def remove_aside(store: Store) -> int:
    """Delete what was set aside and return its bytes."""
    freed = aside(store)
    shutil.rmtree(store.root / ASIDE, ignore_errors=True)
    return freed
