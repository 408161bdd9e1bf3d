"""The store and the run that a verb reads: found, or refused in one line.

What is damaged in it is told, never passed over.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from harness.command.terminal import console
from harness.storage.store import Store
from harness.words.nearest import nearest


def readable(place: str) -> Store:
    """Return the store at `place`; ValueError where there is none.

    Records of runs and steps that are damaged are told.
    """
    store = Store(Path(place)).opened()
    for line in [*map(str, store.damaged_runs()), *damaged_steps(store)]:
        console(stderr=True).print(f"note: {line}", style="yellow", soft_wrap=True)
    return store


def damaged_steps(store: Store) -> list[str]:
    """Return a line for each step whose record is damaged or whose small files are not what they were.

    Those are missing, or of another size.
    """
    folders = sorted((store.root / "steps").glob("*")) if (store.root / "steps").is_dir() else []
    keys = [folder.name for folder in folders if not store.has(folder.name)]
    damages = ((key, store.damage(key, weights=False)) for key in keys)
    return [f"stored step {key[:12]}: {damage}" for key, damage in damages if damage]


def stored_run(store: Store, name: str, place: str) -> dict[str, Any]:
    """Return the run called `name`, or the newest of the store written as `place`.

    ValueError where there is none.
    """
    runs = {run["id"]: run for run in store.runs()}
    if not runs:
        raise ValueError(f"store={place} holds no run; start with harness run suite=demo")
    if name and name not in runs:
        raise ValueError(f"run {name} is not in the store; {nearest(name, list(runs))}")
    return runs[name] if name else list(runs.values())[-1]
