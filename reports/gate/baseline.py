"""A baseline on disk: a store that holds one run and its measurements.

Without weights, small enough to commit.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from harness.storage.sealed import write_json, write_sealed
from harness.storage.store import RECORD, Store
from harness.words.nearest import nearest

MARK = "baseline.json"  # what tells a baseline from a store that somebody needs
WRITTEN = (MARK, "steps", "runs")  # all that a baseline holds; anything else in its folder is somebody's


def opened(folder: Path, name: str = "") -> tuple[dict[str, Any], Store]:
    """Return the run that the folder holds (its newest, or the one called `name`) and its store.

    ValueError for none.
    """

    store = Store(folder)
    if damaged := store.damaged_runs():
        raise ValueError(
            f"baseline={folder}: {damaged[0]}; restore the file, or keep a run there anew with update=true"
        )
    runs = {run["id"]: run for run in store.runs()}
    if not runs:
        raise ValueError(
            f"baseline={folder} holds no run; keep one there with harness gate baseline={folder} update=true"
        )
    if name and name not in runs:
        raise ValueError(f"baseline_run {name} is not in {folder}; {nearest(name, list(runs))}")
    return (runs[name] if name else list(runs.values())[-1]), store


def keep(run: dict[str, Any], store: Store, folder: Path) -> int:
    """Make the run the baseline in `folder`, in place of the one there, and return its bytes.

    ValueError where the folder is no baseline and not empty, or holds more than a baseline; where a measurement of the run is
    missing.
    """
    if folder.exists() and (not folder.is_dir() or (any(folder.iterdir()) and not (folder / MARK).is_file())):
        raise ValueError(f"baseline={folder} is no baseline of ours and not empty; choose another folder")
    _check_ours(folder)
    keys = list(dict.fromkeys(key for variant in run["variants"] for key in variant["measures"].values()))
    if absent := [key for key in keys if not store.has(key)]:
        lost = [variant["name"] for variant in run["variants"] if set(absent) & set(variant["measures"].values())]
        raise ValueError(f"run {run['id']} is incomplete ({', '.join(lost)}) and makes no baseline; run it again")
    folder = folder.resolve()
    folder.parent.mkdir(parents=True, exist_ok=True)
    draft, old = (folder.with_name(f".{folder.name}.{what}") for what in ("new", "old"))
    for stale in (draft, old):
        _check_ours(stale)
    if old.exists() and not folder.exists():
        old.rename(folder)  # a kill came between the two renames below
    for stale in (draft, old):
        shutil.rmtree(stale, ignore_errors=True)
    draft.mkdir()
    write_json(draft / MARK, {"format": 1, "run": run["id"]})
    for key in keys:
        target = draft / "steps" / key
        target.mkdir(parents=True)
        for name in (RECORD, *store.record(key)["files"]):
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(store.folder(key) / name, target / name)
    (draft / "runs").mkdir(parents=True)
    write_sealed(draft / "runs" / f"{run['id']}.json", run)
    if folder.exists():
        folder.rename(old)
    draft.rename(folder)
    shutil.rmtree(old, ignore_errors=True)
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _check_ours(folder: Path) -> None:
    """Raise ValueError where the folder holds anything that `keep` did not write.

    It is replaced, and goes with the rest.
    """
    others = sorted(path.name for path in folder.iterdir() if path.name not in WRITTEN) if folder.is_dir() else []
    if others:
        raise ValueError(
            f"{folder} holds {', '.join(others[:3])}{', ...' if others[3:] else ''}, which no baseline of ours does, and would be "
            "replaced whole; move that out, or choose another folder with baseline="
        )
