"""What lm-eval's definition of a task says, read from its YAML without loading data or running code."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from harness.data.catalogue import definitions_folder, layout
from harness.data.mirror import local_files
from harness.quantities import Better, Quantity, metric
from harness.spec import DataSource
from harness.storage.sources import beside
from harness.words import yaml_text

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
        """Where few-shot examples come from, lm-eval's own split first.

        Never by its fallback to reported items.
        """
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

    @property
    def drawn(self) -> bool:
        """Whether answers are drawn at random, so that each repeat is another one."""
        return self.output_type == "generate_until" and draws(self.keys.get("generation_kwargs") or {})

    @property
    def filters(self) -> list[str]:
        """The names of its filters, each of which makes an answer of its own out of what the model said."""
        return [str(entry.get("name")) for entry in self.keys.get("filter_list") or []]

    def quantities(self, *, bounded: bool | None = None) -> dict[str, Quantity]:
        """Return what the definition says of each metric.

        `bounded` is what a suite's author says of the share of its items.
        """
        said = {self.named(entry): entry.get("higher_is_better") for entry in self.listed()}
        ways: dict[Any, Better | None] = {True: "higher", False: "lower"}
        return {
            name: metric(name, ways.get(said.get(name)), aggregation=aggregation, bounded=bounded)
            for name, aggregation in self.metrics().items()
        }

    def named(self, entry: dict[str, Any]) -> str:
        """Return what lm-eval calls a metric: a function of the task's own by the function's name."""
        name = str(entry["metric"])
        return name.rpartition(".")[2] if name.startswith(FUNCTION) else name

    def listed(self) -> list[dict[str, Any]]:
        return self.keys.get("metric_list") or [{"metric": name} for name in DEFAULT_METRICS[self.output_type]]

    def metrics(self) -> dict[str, str]:
        """Return each metric's aggregation, in the definition's order.

        Functions of the task's own by their name.
        """
        aggregations = {}
        for entry in self.listed():
            name = self.named(entry)
            aggregations[name] = str(entry.get("aggregation") or DEFAULT_AGGREGATION.get(name, f"that of {name}"))
        if self.output_type == "multiple_choice" and not self.keys.get("process_results"):
            aggregations = {
                **aggregations,
                **{name: "mean" for name in DEFAULT_METRICS["multiple_choice"] if name not in aggregations},
            }
        return aggregations


def draws(options: dict[str, Any]) -> bool:
    """Tell whether generation with these options draws its answers: as lm-eval reads them."""
    asked = options.get("do_sample")
    return float(options.get("temperature") or 0) > 0 if asked is None else bool(asked)


def means_parts_alike(name: str, metric: str) -> bool:
    """Tell whether lm-eval's mean of a group that it knows counts every task alike.

    Else it is a function of the group's own.
    """
    entry = manager().task_index.get(name)
    if entry is None or entry.kind.name != "GROUP":
        return False
    listed = entry.cfg.get("aggregate_metric_list") or []
    return any(
        each.get("metric") == metric
        and not (each.get("weight_by_size", True) and each.get("aggregation", "mean") == "mean")
        for each in ([listed] if isinstance(listed, dict) else listed)
    )


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
    """Yield the files that define a task.

    Its YAML, what that includes, and the Python files beside them that it names.
    """
    keys = _parsed(path)
    yield path
    for name in _functions(keys):
        if (file := _file_of(name, path.parent)).is_file():
            yield from beside(file)
    for included in included_files(path, keys):
        yield from sources_of(included)


def check_includes(path: Path, above: tuple[Path, ...] = ()) -> None:
    """Raise ValueError where a definition includes itself, be it by way of another."""
    place = path.resolve()
    if place in above:
        raise ValueError(f"{path}: it includes itself, by way of {', '.join(file.name for file in above)}")
    for included in included_files(path, _parsed(path)):
        check_includes(included, (*above, place))


def check_kinds(path: Path, keys: dict[str, Any]) -> None:
    """Raise ValueError where a key that we read holds another kind of value than lm-eval's."""
    for key in ("dataset_kwargs", "generation_kwargs"):
        if not isinstance(keys.get(key) or {}, dict):
            raise ValueError(f"{path}: {key} must be a mapping, not {keys[key]!r}")
    for key, needed in (("metric_list", "metric"), ("filter_list", "name")):
        listed = keys.get(key) or []
        if not isinstance(listed, list) or not all(isinstance(each, dict) and needed in each for each in listed):
            raise ValueError(f"{path}: {key} must be a list of mappings with {needed} in each, not {listed!r}")
    files = (keys.get("dataset_kwargs") or {}).get("data_files")
    if files is not None and not _names(files):
        raise ValueError(f"{path}: data_files must be a file, a list of files, or either for each split, not {files!r}")
    shots = keys.get("num_fewshot")
    if shots is not None and (type(shots) is not int or shots < 0):
        raise ValueError(f"{path}: num_fewshot must be a whole number from 0 on, not {shots!r}")


def _names(files: Any) -> bool:
    parts = list(files.values()) if isinstance(files, dict) else files if isinstance(files, list) else None
    return isinstance(files, str) if parts is None else bool(parts) and all(map(_names, parts))


def check_code(path: Path) -> None:
    """Raise ValueError where a definition runs code that is neither lm-eval's nor beside it.

    Whoever names a suite file trusts the Python beside it; a definition that is included, or a module by name, may lie anywhere.
    """
    trusted = (path.parent.resolve(), definitions_folder().resolve())
    for file in _definitions_of(path):
        for name in _functions(_parsed(file)):
            place = _file_of(name, file.parent).resolve()
            if not place.is_file() or not any(place.is_relative_to(folder) for folder in trusted):
                raise ValueError(
                    f"{file}: !function {name} is in no Python file of lm-eval's tasks or of {path.parent}, and is not run; put "
                    "the function into a file beside the suite"
                )


def _definitions_of(path: Path) -> Iterator[Path]:
    yield path
    for included in included_files(path, _parsed(path)):
        yield from _definitions_of(included)


def _file_of(function: str, folder: Path) -> Path:
    return folder / f"{function.rpartition('.')[0].replace('.', '/')}.py"


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
    theirs = path.resolve().is_relative_to(definitions_folder().resolve())
    keys = yaml_text.read(path, "task definition", _Loader if theirs else _OnceLoader)
    if not isinstance(keys, dict):
        raise ValueError(f"task definition {path} does not hold the keys of a task")
    return keys


class _Loader(yaml.SafeLoader):
    """Reads task definitions without running the functions that they name."""


class _OnceLoader(yaml_text.OnceLoader):
    """The same for a suite's author: no key twice."""


for _loader in (_Loader, _OnceLoader):
    _loader.add_multi_constructor("!", lambda loader, suffix, node: f"!{suffix} {node.value}")


def overrides(source: DataSource, part: str) -> dict[str, Any]:
    """Return what is to be written over lm-eval's own definition of `part`.

    Its place, and its files and splits.
    """
    if source.definition is not None:
        path = Path(source.definition)
        return {"include": str(path), "task": part, **own_files(path)}
    task_layout = layout(part)
    assert task_layout is not None, part
    base = definitions_folder() / task_layout.definition
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
    """Return `dataset_kwargs` with places made absolute, for a task defined beside a suite file.

    Empty without files.
    """
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
    task_layout = layout(source.name)
    return (task_layout.parts if task_layout else ()) or (source.name,)


def definitions(source: DataSource) -> dict[str, Definition]:
    """Return the definition of each part, with what the mirror lacks left out."""
    task_layout = layout(source.name)
    if source.definition is None and task_layout is None:
        return {name: Definition(keys) for name, keys in registered(source.name).items()}
    if task_layout is not None and not task_layout.definition:
        return {}
    by_name = {}
    for part in parts(source):
        keys = overrides(source, part)
        by_name[part] = Definition({**read_yaml(Path(keys["include"])), **keys})
    return by_name


@cache
def manager() -> Any:
    """Return lm-eval's own manager of all its tasks: some seconds, for tasks that the table does not hold."""
    from lm_eval.tasks import TaskManager

    return TaskManager()


def registered(name: str) -> dict[str, dict[str, Any]]:
    """Return the keys of a task that lm-eval knows, or of all tasks of such a group or tag.

    Empty where it knows none.
    """
    entry = manager().task_index.get(name)
    if entry is None:
        return {}
    if entry.kind.name == "TAG":
        return {part: keys for tag in sorted(entry.tags) for part, keys in registered(tag).items()}
    if entry.kind.name != "GROUP":
        return {name: read_yaml(entry.yaml_path)}
    by_name: dict[str, dict[str, Any]] = {}
    listed = entry.cfg["task"]
    for member in [listed] if isinstance(listed, str) else listed:
        own = member if isinstance(member, dict) else {}
        inner = own.get("task", own.get("group")) if own else member
        leaves = registered(inner) if isinstance(inner, str) else {}
        by_name |= {part: {**keys, **own, "task": part} for part, keys in leaves.items()}
    return by_name
