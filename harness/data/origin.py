"""Where a named data set comes from: shipped, a local mirror, beside a suite file, or the hub.

And what is in it.
"""

from __future__ import annotations

import glob
import hashlib
from pathlib import Path
from typing import Any

from harness.data import hub
from harness.data.catalogue import DEMO_FORMATS, HUB_TEXT, TASKS, TEXT, layout
from harness.data.definitions import (
    check_code,
    check_includes,
    check_kinds,
    definitions,
    own_files,
    parts,
    read_yaml,
    registered,
    sources_of,
)
from harness.data.mirror import count_rows, demo_folder, local_files
from harness.spec import DataSource
from harness.storage.store import sha256_file
from harness.words.nearest import nearest

PACKAGED = ("json", "csv", "parquet", "text", "arrow")  # builders of `datasets` that read files


def source(name: str, data_dir: Path | None, beside: Path | None = None) -> DataSource:
    """Return where `name` comes from; `beside` is a suite file's folder, whose own definitions come first."""
    if beside is not None and (beside / f"{name}.yaml").is_file():
        return own_source(name, beside / f"{name}.yaml")
    if name.startswith("demo_"):
        return local_source(name, demo_folder())
    if data_dir is None:
        return hub_source(name)
    try:
        return local_source(name, data_dir)
    except ValueError:
        if layout(name) is not None or name in TEXT or not registered(name):
            raise
        return hub_source(name)


def local_source(name: str, folder: Path) -> DataSource:
    """Return the data source with the hash of its files' bytes."""
    files = local_files(name, folder)
    task_layout = layout(name)
    scored = files[task_layout.evaluate] if task_layout else next(iter(files.values()))
    rows = count_rows(scored, task_layout.subject if task_layout else None)
    subjects = [leaf.subject for part in parts(DataSource(name=name)) if (leaf := layout(part)) and leaf.subject]
    empty = [subject for subject in subjects if not count_rows(scored, subject)]
    if empty:
        raise ValueError(f"{name}: {scored} holds no row with subject {', '.join(empty)}")
    return DataSource(name=name, folder=str(folder.resolve()), content=_content(files), rows=rows)


def own_source(name: str, path: Path) -> DataSource:
    """Return a task that a suite's author defined: its content is its YAML, its Python, and its data."""
    check_includes(path)
    keys = read_yaml(path)
    check_kinds(path, keys)
    if "group" in keys:
        raise ValueError(f"{path} defines a group, which a suite cannot hold; name its tasks in the suite one by one")
    if keys.get("task") != name:
        raise ValueError(f"{path}: task must be {name}, as the file is named, not {keys.get('task')}")
    _written_as_data(name, keys)
    check_code(path)
    definition = {f"definition {place}": file for place, file in enumerate(sources_of(path))}
    files = _data_files(own_files(path).get("dataset_kwargs", {}).get("data_files", {}))
    missing = [str(file) for file in files.values() if not file.is_file()]
    if missing:
        raise ValueError(f"{path}: data_files names {', '.join(missing)}, which does not exist")
    where = str(keys.get("dataset_path"))
    if where in PACKAGED and not files:
        raise ValueError(f"{path}: dataset_path {where} needs dataset_kwargs.data_files, a file for each split")
    content = _content({**definition, **files})
    if where not in PACKAGED:
        content += f" {_revision(name, where, keys.get('dataset_name'))}"
    scored = keys.get("test_split") or keys.get("validation_split")
    lines = [file for split, file in files.items() if split.split(" ")[0] == scored and where in ("json", "text")]
    rows = sum(map(count_rows, lines)) or 1500
    return DataSource(name=name, definition=str(path.resolve()), content=content, rows=rows)


def _written_as_data(name: str, keys: dict[str, Any]) -> None:
    """Raise ValueError for a task that is a Python class."""
    if "class" in keys:
        raise ValueError(f"{name} is defined by a Python class, so what it measures cannot be read; define it in YAML")


def _data_files(value: Any) -> dict[str, Path]:
    """Return `data_files` as files by split and place, patterns as what they match.

    Addresses are left to `datasets`.
    """
    if not isinstance(value, dict):
        value = {"train": value}
    listed = {split: [files] if isinstance(files, str) else files for split, files in value.items()}
    return {
        f"{split} {place}": Path(file)
        for split, files in listed.items()
        for place, file in enumerate(each for written in files for each in _matches(written))
    }


def _matches(written: str) -> list[str]:
    if "://" in written:
        return []
    return sorted(glob.glob(written, recursive=True)) or [written] if glob.has_magic(written) else [written]


def _content(files: dict[str, Path]) -> str:
    parts = [f"{split}:{sha256_file(path)}" for split, path in sorted(files.items())]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def hub_source(name: str) -> DataSource:
    """Return a source that lm-eval or `datasets` fetches.

    ValueError when neither the hub nor its cache answers.
    """
    content = " ".join(_revision(name, *place) for place in _hub_places(name))
    task_layout = layout(name)
    rows = task_layout.rows.get(task_layout.evaluate, 1500) if task_layout and not task_layout.subject else 1500
    return DataSource(name=name, content=content, rows=rows)


def _revision(name: str, repository: str, configuration: str | None) -> str:
    hub.settle()
    from datasets import load_dataset_builder

    try:
        builder = load_dataset_builder(repository, configuration)
    except Exception as error:  # transports and datasets raise dozens of kinds; all mean the data is not to be had
        raise ValueError(
            f"{name}: its data ({repository}) is out of reach ({type(error).__name__}); tried the hub and the local cache. "
            "Ways out: data_dir=FOLDER with a local mirror, or suite=demo"
        ) from None
    return f"{repository}/{configuration}@{builder.hash or builder.info.version}"


def _hub_places(name: str) -> list[tuple[str, str | None]]:
    """Return repository and configuration of a name's data, once for each repository of a group."""
    if name in HUB_TEXT:
        return [HUB_TEXT[name][:2]]
    leaves = definitions(DataSource(name=name))
    if not leaves:
        raise ValueError(
            f"unknown task {name}; {nearest(name, [*TASKS, 'mmlu', *(f'demo_{n}' for n in DEMO_FORMATS)])}"
        )
    for each in leaves.values():
        _written_as_data(name, each.keys)
    places: dict[str, str | None] = {}
    for each in leaves.values():
        places.setdefault(str(each.keys.get("dataset_path")), each.keys.get("dataset_name"))
    return list(places.items())
