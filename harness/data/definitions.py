"""What lm-eval's definition of a task says, read from its YAML without loading data or running code."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from harness.data.catalogue import definitions_folder, layout
from harness.data.places import local_files
from harness.spec import DataSource

FUNCTION = "!function "
SPLITS = ("training_split", "validation_split", "test_split", "fewshot_split")
DEFAULT_METRICS = {
    "multiple_choice": ["acc", "acc_norm"],
    "loglikelihood": ["perplexity", "acc"],
    "loglikelihood_rolling": ["word_perplexity", "byte_perplexity", "bits_per_byte"],
    "generate_until": ["exact_match"],
}
OVER_ITEMS = ("mean", "nanmean", "perplexity", "weighted_perplexity", "bits_per_byte")
DEFAULT_AGGREGATION = {
    **dict.fromkeys(("acc", "acc_norm", "acc_bytes", "acc_mutual_info", "exact_match", "likelihood"), "mean"),
    "perplexity": "perplexity",
    "word_perplexity": "weighted_perplexity",
    "byte_perplexity": "weighted_perplexity",
    "bits_per_byte": "bits_per_byte",
}


@dataclass(frozen=True)
class Definition:
    """The keys of one task, includes and the mirror's overrides merged, functions by name."""

    keys: dict[str, Any] = field(default_factory=dict)

    @property
    def output_type(self) -> str:
        return str(self.keys.get("output_type") or "generate_until")

    @property
    def evaluated(self) -> str | None:
        """The split whose items are reported: lm-eval takes the test split where there is one."""
        return self.keys.get("test_split") or self.keys.get("validation_split")

    @property
    def training(self) -> str | None:
        """A training split that is not the reported one."""
        split = self.keys.get("training_split")
        return split if split != self.evaluated else None

    @property
    def examples(self) -> str | None:
        """Where few-shot examples come from, lm-eval's own split first; never by its fallback to reported items."""
        configured = self.keys.get("fewshot_config") or {}
        if isinstance(configured, dict) and configured.get("samples"):
            return "fewshot_config"
        split = (configured.get("split") if isinstance(configured, dict) else None) or self.keys.get("fewshot_split")
        others = (self.keys.get("training_split"), self.keys.get("validation_split"))
        return split or next((name for name in others if name and name != self.evaluated), None)

    @property
    def searchable(self) -> bool:
        return self.output_type == "multiple_choice" and self.training is not None

    @property
    def shots(self) -> int:
        return int(self.keys.get("num_fewshot") or 0)

    def metrics(self) -> dict[str, str]:
        """Return each metric's aggregation, in the definition's order; functions of the task's own by their name."""
        listed = self.keys.get("metric_list") or [{"metric": name} for name in DEFAULT_METRICS[self.output_type]]
        found = {}
        for entry in listed:
            name = str(entry["metric"])
            found[name] = str(entry.get("aggregation") or DEFAULT_AGGREGATION.get(name, f"that of {name}"))
        if self.output_type == "multiple_choice" and not self.keys.get("process_results"):
            found = {**found, **{name: "mean" for name in DEFAULT_METRICS["multiple_choice"] if name not in found}}
        return found


def read_yaml(path: Path) -> dict[str, Any]:
    """Return a task definition's keys, those it includes below its own."""
    own = _parsed(path)
    merged: dict[str, Any] = {}
    for included in included_files(path, own):
        merged |= read_yaml(included)
    return {**merged, **{key: value for key, value in own.items() if key != "include"}}


def included_files(path: Path, keys: dict[str, Any]) -> list[Path]:
    named = keys.get("include") or []
    return [path.parent / name for name in ([named] if isinstance(named, str) else named)]


def sources_of(path: Path) -> Iterator[Path]:
    """Yield the files that define a task: its YAML, what that includes, and the Python files beside them that it names."""
    keys = _parsed(path)
    yield path
    for name in _functions(keys):
        beside = path.parent / f"{name.rpartition('.')[0].replace('.', '/')}.py"
        if beside.is_file():
            yield beside
    for included in included_files(path, keys):
        yield from sources_of(included)


def _functions(value: Any) -> Iterator[str]:
    if isinstance(value, str) and value.startswith(FUNCTION):
        yield value.removeprefix(FUNCTION)
    for part in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _functions(part)


def _parsed(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise ValueError(f"{path}, which a task definition includes: no such file")
    return _parsed_at(path, path.stat().st_mtime_ns)


@cache
def _parsed_at(path: Path, changed: int) -> dict[str, Any]:
    try:
        keys = yaml.load(path.read_text(encoding="utf-8"), _Loader)
    except yaml.YAMLError as error:
        raise ValueError(f"task definition {path}: no YAML: {' '.join(str(error).split())}") from None
    if not isinstance(keys, dict):
        raise ValueError(f"task definition {path} does not hold the keys of a task")
    return keys


class _Loader(yaml.SafeLoader):
    """Reads task definitions without running the functions that they name."""


_Loader.add_multi_constructor("!", lambda loader, suffix, node: f"!{suffix} {node.value}")


def overrides(source: DataSource, part: str) -> dict[str, Any]:
    """Return what is to be written over lm-eval's own definition of `part`: its place, and its files and splits."""
    if source.definition is not None:
        path = Path(source.definition)
        return {"include": str(path), "task": part, **own_files(path)}
    known = layout(part)
    assert known is not None, part
    base = definitions_folder() / known.definition
    if source.folder is None:
        return {"include": str(base), "task": part}
    files = local_files(source.name, Path(source.folder))
    keys = read_yaml(base)
    return {
        "include": str(base),
        "task": part,
        "dataset_path": "json",
        "dataset_name": None,
        "dataset_kwargs": {"data_files": {name: str(path.resolve()) for name, path in files.items()}},
        **{key: None for key in SPLITS if keys.get(key) and keys[key] not in files},
        **_demo_splits(part),
    }


def _demo_splits(part: str) -> dict[str, str | None]:
    """Return the splits of a shipped task: its reported items stand in the place of the validation split."""
    if not part.startswith("demo_"):
        return {}
    return {"training_split": "train", "validation_split": "validation", "test_split": None}


def own_files(path: Path) -> dict[str, Any]:
    """Return `dataset_kwargs` with places made absolute, for a task defined beside a suite file; empty without files."""
    settings = read_yaml(path).get("dataset_kwargs") or {}
    if "data_files" not in settings:
        return {}
    return {"dataset_kwargs": {**settings, "data_files": _absolute(settings["data_files"], path.parent)}}


def _absolute(value: Any, folder: Path) -> Any:
    if isinstance(value, dict):
        return {name: _absolute(part, folder) for name, part in value.items()}
    if isinstance(value, list):
        return [_absolute(part, folder) for part in value]
    return value if "://" in value else str((folder / value).resolve())


def parts(source: DataSource) -> tuple[str, ...]:
    """Return the names of a known task's parts: its own, or those of its group."""
    known = layout(source.name)
    return (known.parts if known else ()) or (source.name,)


def definitions(source: DataSource) -> dict[str, Definition]:
    """Return the definition of each part, with what the mirror lacks left out."""
    known = layout(source.name)
    if source.definition is None and known is None:
        return {name: Definition(keys) for name, keys in registered(source.name).items()}
    if known is not None and not known.definition:
        return {}
    found = {}
    for part in parts(source):
        keys = overrides(source, part)
        found[part] = Definition({**read_yaml(Path(keys["include"])), **keys})
    return found


@cache
def manager() -> Any:
    """Return lm-eval's own manager of all its tasks: some seconds, for tasks that the table does not hold."""
    from lm_eval.tasks import TaskManager

    return TaskManager()


def registered(name: str) -> dict[str, dict[str, Any]]:
    """Return the keys of a task that lm-eval knows, or of all tasks of such a group or tag; empty where it knows none."""
    entry = manager().task_index.get(name)
    if entry is None:
        return {}
    if entry.kind.name == "TAG":
        return {part: keys for tag in sorted(entry.tags) for part, keys in registered(tag).items()}
    if entry.kind.name != "GROUP":
        return {name: read_yaml(entry.yaml_path)}
    found: dict[str, dict[str, Any]] = {}
    listed = entry.cfg["task"]
    for member in [listed] if isinstance(listed, str) else listed:
        own = member if isinstance(member, dict) else {}
        inner = own.get("task", own.get("group")) if own else member
        leaves = registered(inner) if isinstance(inner, str) else {}
        found |= {part: {**keys, **own, "task": part} for part, keys in leaves.items()}
    return found
