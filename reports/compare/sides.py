"""The stored items of what was named: variants of a run, step keys, or files of items."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from harness.evaluation.items import EMPTY
from harness.quantities import Quantity, recorded
from harness.storage.store import Store
from harness.words.home import home
from harness.words.nearest import nearest
from harness.words.reasons import one_line

KEY = re.compile(r"[0-9a-f]{6,40}")
ITEMS = "items.parquet"
Item = dict[str, Any]


@dataclass(frozen=True)
class Side:
    """A variant by the name the user gave it, its items by task, and its run's headline metrics.

    That run is the one in which the variant was found.
    """

    name: str
    path: Path
    items: dict[str, list[Item]]
    metrics: dict[str, str]
    run: str
    quantities: dict[str, dict[str, dict[str, str]]] = field(default_factory=dict)  # of that run: by task and metric
    record: dict[str, Any] = field(default_factory=dict)  # that run

    def quantity(self, task: str, metric: str) -> Quantity:
        """Return what the run says of a task's metric."""
        return recorded(metric, self.quantities.get(task, {}).get(metric))


def sides(names: Sequence[str], store: Store, run: str = "") -> list[Side]:
    """Return what was named, in order.

    Variants come from `run`, or the newest run in which all of them were scored.

    A name may also be the first letters (six or more) of an evaluation's step key, or a path that ends with .parquet.
    """
    if len(names) < 2:
        raise ValueError("compare needs two variants or more, the reference first: harness compare dense nas@0.75")
    if twice := [name for name in dict.fromkeys(names) if names.count(name) > 1]:
        raise ValueError(f"{twice[0]} is named twice; name each variant once")
    runs = store.runs()
    direct = {name: path for name in names if (path := _direct(name, store)) is not None}
    variants = [name for name in names if name not in direct]
    chosen = _run(variants, runs, store, run) if variants or run else None
    result = []
    for name in names:
        if name in direct:
            path, home_run = _checked(direct[name]), _home(direct[name])
        else:
            assert chosen is not None
            path, home_run = _stored_items(scored(chosen, store)[name], store), chosen
        result.append(_side(name, path, home_run or {}))
    return result


def stored_side(name: str, key: str, run: dict[str, Any], store: Store) -> Side:
    """Return the side of a variant of `run` whose stored evaluation is `key`."""
    return _side(name, _stored_items(key, store), run)


def _side(name: str, path: Path, run: dict[str, Any]) -> Side:
    return Side(name, path, _items(path), run.get("metrics", {}), run.get("id", ""), run.get("quantities") or {}, run)


def _stored_items(key: str, store: Store) -> Path:
    """Return a stored evaluation's file of items, its bytes checked.

    Corrupt where they are not what was written.
    """
    path = store.file(key, ITEMS)
    assert path is not None, f"{key} is no evaluation"
    return path


def _checked(path: Path) -> Path:
    """Return the path; where it lies in a store, only after its bytes were checked."""
    folder = path.resolve().parent
    return _stored_items(folder.name, Store(folder.parent.parent)) if folder.parent.name == "steps" else path


def scored(run: dict[str, Any], store: Store) -> dict[str, str]:
    """Return the keys of the run's stored evaluations by variant."""
    keys = {variant["name"]: variant["measures"].get("evaluate", "") for variant in run["variants"]}
    return {name: key for name, key in keys.items() if key and (store.folder(key) / ITEMS).is_file()}


def _direct(name: str, store: Store) -> Path | None:
    if name.endswith(".parquet"):
        path = home(name)
        if not path.is_file():
            raise ValueError(f"{name}: no such file")
        return path
    if not KEY.fullmatch(name):
        return None
    paths = sorted(store.root.glob(f"steps/{name}*/{ITEMS}"))
    if len(paths) != 1:
        raise ValueError(f"step key {name} fits {len(paths)} stored evaluations; harness ls lists the keys")
    return paths[0]


def _home(path: Path) -> dict[str, Any] | None:
    """Return the newest run that the evaluation belongs to, if the file lies in a store."""
    folder = path.resolve().parent
    if folder.parent.name != "steps":
        return None
    runs = Store(folder.parent.parent).runs()
    return next(
        (run for run in reversed(runs) if folder.name in (v["measures"].get("evaluate") for v in run["variants"])), None
    )


def _run(names: Sequence[str], runs: list[dict[str, Any]], store: Store, wanted: str) -> dict[str, Any]:
    """Return the wanted run, or the newest that scored all `names`.

    ValueError with the nearest names where none did.
    """
    if not runs:
        raise ValueError(f"store={store.root} holds no run; start with harness run suite=demo")
    if wanted:
        runs = [run for run in runs if run["id"] == wanted] or _unknown_run(wanted, runs)
    known = {variant["name"] for run in runs for variant in run["variants"]}
    unknown = [f"variant {name} is unknown; {nearest(name, sorted(known))}" for name in names if name not in known]
    if unknown:
        raise ValueError("\n".join(unknown))
    for run in reversed(runs):
        if set(names) <= set(scored(run, store)):
            return run
    where = {name: [run["id"] for run in runs if name in scored(run, store)] for name in names}
    if missing := [name for name, ids in where.items() if not ids]:
        raise ValueError(f"{' and '.join(missing)}: not scored yet, or its step failed; harness run does what is left")
    told = ", ".join(f"{name} in {ids[-1]}" for name, ids in where.items())
    raise ValueError(f"no run scored all of these: {told}; step keys compare across runs (harness ls lists them)")


def _unknown_run(wanted: str, runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    raise ValueError(f"run {wanted} is not in the store; {nearest(wanted, [run['id'] for run in runs])}")


def _items(path: Path) -> dict[str, list[Item]]:
    """Return the items by task; columns that an older version did not write are None.

    ValueError for no file of items.
    """
    by_task: dict[str, list[Item]] = {}
    try:
        rows = pq.read_table(path).to_pylist()
    except (OSError, pa.ArrowException) as error:
        raise ValueError(f"{path} is no Parquet file of items: {one_line(error)}") from None
    if not {"task", "doc_id", "item"} <= (rows[0].keys() if rows else {"task", "doc_id", "item"}):
        raise ValueError(f"{path} holds no items of an evaluation: its columns are {', '.join(rows[0])}")
    for row in rows:
        item = EMPTY | row
        item["part"] = item["part"] or item["task"]
        by_task.setdefault(item["task"], []).append(item)
    return by_task
