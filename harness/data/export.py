"""Write a local mirror of a suite's data, the layout that `data_dir=` reads.

It comes from the hub or from another mirror.
"""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import os
import shutil
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.data import hub, text
from harness.data.catalogue import HUB_TEXT, TASKS, TEXT, layout
from harness.data.definitions import definitions
from harness.data.mirror import count_rows, expected
from harness.data.suites import Suite
from harness.spec import DataSource
from harness.words.nearest import nearest

CONFIGURATIONS = {"winogrande/train_l.jsonl.gz": "winogrande_l"}  # lm-eval's own names the largest, winogrande_xl


@dataclass(frozen=True)
class MirrorFile:
    """One file of a mirror: which split of which task or text it holds, and how many rows; 0: it varies."""

    path: str
    name: str
    split: str
    rows: int
    needed: bool  # a report cannot do without; the others serve searches and examples

    def found(self, folder: Path) -> int | None:
        """Return the rows that lie in `folder`; None without the file."""
        return count_rows(folder / self.path) if (folder / self.path).is_file() else None

    def complete(self, folder: Path) -> bool:
        count = self.found(folder)
        return count is not None and count >= max(self.rows, 1)


def files(suite: Suite, names: Iterable[str] = ()) -> tuple[list[MirrorFile], list[str]]:
    """Return the files of a suite's tasks and texts, and the names that no mirror holds.

    `names` chooses among them.
    """
    optional = {task.task for task in suite.tasks if task.optional}
    wanted = list(
        dict.fromkeys([task.task for task in suite.tasks] + suite.search + [suite.calibration, suite.training])
    )
    columns = {task.name: task.task for task in suite.tasks if task.name}
    for name in names:
        if name not in wanted and name not in columns:
            raise ValueError(f"{name} is no task or text of suite {suite.name}; {nearest(name, [*wanted, *columns])}")
    chosen = list(dict.fromkeys(columns.get(name, name) for name in names)) or wanted
    by_path: dict[str, MirrorFile] = {}
    outside = []
    for name in chosen:
        if name.startswith("demo_") or (layout(name) is None and name not in TEXT):
            outside.append(name)
            continue
        relative, rows, evaluated = expected(name)
        for split, path in relative.items():
            needed = split == evaluated and name not in optional
            if path not in by_path or needed:
                by_path[path] = MirrorFile(path, name, split, rows.get(split, 0), needed)
    return list(by_path.values()), outside


def export(
    wanted: Iterable[MirrorFile], target: Path, origin: Path | None
) -> Iterator[tuple[MirrorFile, int | None, str]]:
    """Write each file; yield it with its rows (None: not to be had) and what was done.

    ValueError when a needed one is not.
    """
    failures = []
    for file in wanted:
        if file.complete(target):
            yield file, file.found(target), "is there already"
            continue
        try:
            aside = _copy(file, origin, target) if origin is not None else _write(target / file.path, hub_rows(file))
        except ValueError as error:
            failures += [str(error)] if file.needed else []
            yield file, None, "not to be had" if file.needed else f"left out: {error}"
            continue
        count = file.found(target) or 0
        done = f"{file.rows:,} rows expected" if count < file.rows else "written"
        yield file, count, f"{done}; what was there lies in {aside.name} beside it" if aside else done
    if failures:
        raise ValueError("\n".join(failures))


def _copy(file: MirrorFile, origin: Path, target: Path) -> Path | None:
    source, goal = origin / file.path, target / file.path
    if not source.is_file():
        raise ValueError(f"{file.name}: data_dir={origin} lacks {file.path}")
    if source.resolve() == goal.resolve():
        return None
    with _replacing(goal) as (draft, aside):
        shutil.copyfile(source, draft)
    return aside


@contextlib.contextmanager
def _replacing(goal: Path) -> Iterator[tuple[Path, Path | None]]:
    """Yield a draft that becomes `goal` once it is whole, and where the file that is there goes before.

    None for no file.
    """
    goal.parent.mkdir(parents=True, exist_ok=True)
    draft = goal.with_name(f".{goal.name}.draft-{os.getpid()}")
    aside = goal.with_name(f"{goal.name}.before-{time.time_ns()}") if os.path.lexists(goal) else None
    try:
        yield draft, aside
        if aside is not None:
            goal.rename(aside)
        draft.rename(goal)
    finally:
        draft.unlink(missing_ok=True)


def _write(goal: Path, rows: list[dict[str, Any]]) -> Path | None:
    """Write JSON lines, whole or not at all, and return where a file that was there is now.

    The same rows give the same bytes.
    """
    content = "".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows).encode()
    if goal.suffix == ".gz":
        packed = io.BytesIO()
        with gzip.GzipFile(filename="", mode="wb", fileobj=packed, mtime=0) as stream:
            stream.write(content)
        content = packed.getvalue()
    with _replacing(goal) as (draft, aside):
        draft.write_bytes(content)
    return aside


def hub_rows(file: MirrorFile) -> list[dict[str, Any]]:
    """Return the rows of a file as the hub or its cache has them; ValueError naming both when it has none."""
    hub.settle()
    try:
        return _text_rows(file) if file.name in HUB_TEXT and file.name not in TASKS else list(_task_rows(file))
    except Exception as error:  # transports and datasets raise dozens of kinds; all mean the data is not to be had
        raise ValueError(
            f"{file.name}: {file.path} is out of reach ({type(error).__name__}: {str(error).splitlines()[0][:120]}); "
            "tried the hub and the local cache; data_dir=FOLDER copies from a mirror"
        ) from None


def _text_rows(file: MirrorFile) -> list[dict[str, Any]]:
    return text.all_rows(DataSource(name=file.name))


def _task_rows(file: MirrorFile) -> Iterator[dict[str, Any]]:
    """Yield the rows of a task's split, or of its subjects one after the other, each row with its subject."""
    from datasets import load_dataset

    task_layout = layout(file.name)
    assert task_layout is not None
    if not task_layout.definition:
        yield from text.all_rows(DataSource(name=file.name))
        return
    shared = "mmlu" if task_layout.subject else file.name  # a subject's rows lie in the file of all
    for part, each in definitions(DataSource(name=shared)).items():
        configuration = CONFIGURATIONS.get(file.path, each.keys.get("dataset_name"))
        leaf = layout(part)
        own = {"subject": leaf.subject} if leaf is not None and leaf.subject else {}
        for row in load_dataset(each.keys["dataset_path"], configuration)[file.split]:
            yield {**row, **own}
