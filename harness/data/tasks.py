"""Load lm-eval tasks for reporting or for searching, from the hub or from local files."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Literal

from harness.data import templates
from harness.data.catalogue import layout
from harness.data.definitions import Definition, definitions, manager, overrides, parts, read_yaml
from harness.data.mirror import local_files, read_jsonl
from harness.spec import DataSource, TaskSpec

Split = Literal["report", "search"]
FEWSHOT_SEED = 1234  # lm-eval's own default, which its evaluate() leaves unset


def load(specs: tuple[TaskSpec, ...], folder: Path, split: Split = "report") -> dict[str, dict[str, Any]]:
    """Return lm-eval Task objects by part, by the spec's name; definitions are written to `folder`.

    A plain task has one part, called as the task is; a group has its tasks as parts. What the table of tasks does not
    hold loads by lm-eval's own name.
    """
    templates.sandbox()
    if all(spec.source.folder is not None for spec in specs):
        os.environ["HF_DATASETS_OFFLINE"] = "1"  # local files only: no time lost asking a hub
    loaded = {spec.name: _load(spec, folder / split / spec.name, split) for spec in specs}
    for each in loaded.values():
        for task in each.values():
            task.set_fewshot_seed(FEWSHOT_SEED)
    return loaded


def _load(spec: TaskSpec, place: Path, split: Split) -> dict[str, Any]:
    from lm_eval.tasks import TaskManager

    if spec.source.definition is None and layout(spec.task) is None:
        return _registered(spec, split)
    place.mkdir(parents=True, exist_ok=True)
    rows = _by_subject(spec.source)
    for part in parts(spec.source):
        (place / f"{part}.yaml").write_text(json.dumps(definition(spec, part, split, place, rows)))  # JSON is YAML
    return dict(TaskManager(include_path=place, include_defaults=False).load(list(parts(spec.source)))["tasks"])


def definition(
    spec: TaskSpec, part: str, split: Split, place: Path, rows: dict[tuple[str, str], list[Any]]
) -> dict[str, Any]:
    """Return a task definition that includes lm-eval's own, with the items and the split replaced."""
    own = overrides(spec.source, part) | {"num_fewshot": spec.shots}
    task_layout = layout(part)
    if task_layout is not None and task_layout.subject is not None and spec.source.folder is not None:
        own["dataset_kwargs"] = {"data_files": _subject_files(task_layout.subject, rows, place, part)}
    if "data_files" in own.get("dataset_kwargs", {}) and str(place) in str(own["dataset_kwargs"]):
        own["dataset_kwargs"]["cache_dir"] = str(place / "cache")  # written anew for each run, so kept with it
    if split == "search":
        own |= _searched(Definition({**read_yaml(Path(own["include"])), **own}))
    return own


def _searched(keys: Definition) -> dict[str, Any]:
    """Return the splits of a search: lm-eval scores the test split where there is one."""
    return {"test_split": keys.training, "validation_split": None}


def _by_subject(source: DataSource) -> dict[tuple[str, str], list[Any]]:
    """Return the rows of shared files by split and subject; empty where a task has files of its own."""

    if source.folder is None or not any(task_layout.subject for part in parts(source) if (task_layout := layout(part))):
        return {}
    by_owner: dict[tuple[str, str], list[Any]] = {}
    for split, path in local_files(source.name, Path(source.folder)).items():
        for row in read_jsonl(path):
            by_owner.setdefault((split, row["subject"]), []).append(row)
    return by_owner


def _subject_files(subject: str, rows: dict[tuple[str, str], list[Any]], place: Path, part: str) -> dict[str, str]:
    """Write a subject's rows of every split beside its definition, and return the files."""
    files = {}
    for (split, owner), theirs in rows.items():
        if owner == subject:
            path = place / f"{part}.{split}.jsonl"
            path.write_text("".join(f"{json.dumps(row)}\n" for row in theirs))
            files[split] = str(path.resolve())
    return files


def _registered(spec: TaskSpec, split: Split) -> dict[str, Any]:
    """Return the leaves of what lm-eval knows by the task's name, with the shots and the split replaced."""
    tasks = dict(manager().load([spec.task])["tasks"])
    for task in tasks.values():
        task.set_config("num_fewshot", spec.shots)
        if split == "search":
            for key, value in _searched(Definition(vars(task.config))).items():
                task.set_config(key, value)
    return tasks


def asks(spec: TaskSpec) -> bool:
    """Tell whether lm-eval defines the task: windows of running text are no items of its."""
    return bool(definitions(spec.source))


def searchable(spec: TaskSpec) -> bool:
    """Tell whether the task has training items, which a search may score without touching reported ones."""
    leaves = definitions(spec.source)
    return bool(leaves) and all(each.searchable for each in leaves.values())


def question(task: Any, document: dict[str, Any]) -> str:
    """Return the bare question, the same for every task that asks it.

    Frame, case and white space do not count.
    """
    words = query(task, document).casefold().split()
    return " ".join(words[words[:1] == ["question:"] : len(words) - (words[-1:] == ["answer:"])])


def query(task: Any, document: dict[str, Any]) -> str:
    """Return the text that identifies an item's question, to keep splits disjoint and to cluster items."""
    written = task.config.doc_to_decontamination_query or task.config.doc_to_text
    text = _rendered(written, document) if isinstance(written, str) else str(task.doc_to_text(document))
    if text.isdigit() and task.multiple_input:  # a cloze: its choices are contexts, its text is the right one's number
        return " ".join(task.doc_to_choice(document))
    return text if text.strip() else str(task.doc_to_target(document))  # running text is all target


def _rendered(written: str, document: dict[str, Any]) -> str:
    """Return a field, or a template filled in."""
    return str(document[written]) if written in document else templates.template(written).render(**document)
