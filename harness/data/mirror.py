"""Where the files of a task lie: in a local mirror, or inside the installed package."""

from __future__ import annotations

import gzip
import json
import zlib
from collections import Counter
from collections.abc import Iterator
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from harness.data.catalogue import TASKS, TEXT, layout
from harness.words.nearest import nearest


def demo_folder() -> Path:
    """Return the folder of the installed `suites` package, which ships the demo items."""
    return Path(str(resources.files("suites")))


def expected(name: str) -> tuple[dict[str, str], dict[str, int], str]:
    """Return a name's files and their rows by split, and the split that cannot be done without."""
    task_layout = layout(name)
    if task_layout is not None and task_layout.files:
        return task_layout.files, task_layout.rows, task_layout.evaluate
    if task_layout is None and name in TEXT:
        return {"train": TEXT[name]}, {}, "train"
    raise ValueError(f"{name}: data_dir has no layout for this task; {nearest(name, [*TASKS, 'mmlu', *TEXT])}")


def local_files(name: str, folder: Path) -> dict[str, Path]:
    """Return the existing files by split.

    ValueError naming the file and its rows when the evaluated one is missing.
    """
    relative, rows, needed = expected(name)
    present = {split: folder / path for split, path in relative.items() if (folder / path).is_file()}
    if needed not in present:
        count = f" ({rows[needed]:,} rows)" if needed in rows else ""
        raise ValueError(
            f"{name}: data_dir={folder} lacks {relative[needed]}{count}; "
            "put it there, drop data_dir= where the hub is in reach, or use suite=demo"
        )
    return present


def absent(name: str, folder: Path) -> list[str]:
    """Return the files of a task that the mirror does not hold."""
    return [path for path in expected(name)[0].values() if not (folder / path).is_file()]


def shortfalls(name: str, folder: Path) -> Iterator[str]:
    """Yield a line for each file that holds fewer rows than a whole mirror's."""
    relative, rows, _ = expected(name)
    for split, path in local_files(name, folder).items():
        count = count_rows(path)
        if count < rows.get(split, 0):
            yield f"{relative[split]} in data_dir={folder} holds {count:,} of {rows[split]:,} rows"


def read_jsonl(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the rows of a .jsonl or .jsonl.gz file."""
    opened = gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8")
    with opened as stream:
        for line in stream:
            if line.strip():
                yield json.loads(line)


def count_rows(path: Path, subject: str | None = None) -> int:
    """Return the rows of a file, those of one subject where one is named.

    ValueError where it is cut off, or no such file inside.
    """
    changed = path.stat().st_mtime_ns
    try:
        return _count(path, changed) if subject is None else _subjects(path, changed)[subject]
    except (
        OSError,
        EOFError,
        zlib.error,
        ValueError,
        KeyError,
    ) as error:  # of gzip, of JSON, of a row without a subject
        raise ValueError(f"{path} cannot be read ({type(error).__name__}: {error}); copy it anew") from None


@cache
def _count(path: Path, changed: int) -> int:
    opened = gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb")
    with opened as stream:
        return sum(1 for line in stream if line.strip())


@cache
def _subjects(path: Path, changed: int) -> Counter[str]:
    return Counter(row["subject"] for row in read_jsonl(path))
