"""Load lm-eval tasks for reporting or for searching, from the hub or from local files."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Literal

from harness.data.layout import layout, local_files
from harness.spec import TaskSpec

Split = Literal["report", "search"]


def definition(spec: TaskSpec, split: Split) -> dict[str, Any]:
    """Return a task definition that includes lm-eval's own, with the items and the split replaced."""
    import lm_eval.tasks

    known = layout(spec.name)
    assert known is not None, spec.name
    own: dict[str, Any] = {
        "include": str(Path(lm_eval.tasks.__file__).parent / known.definition),
        "task": spec.name,
        "num_fewshot": spec.shots,
    }
    if spec.source.folder is not None:
        files = local_files(spec.name, Path(spec.source.folder))
        own |= {
            "dataset_path": "json",
            "dataset_name": None,
            "dataset_kwargs": {"data_files": {name: str(path.resolve()) for name, path in files.items()}},
            "training_split": "train" if "train" in files else None,
            "validation_split": "validation" if "validation" in files else None,
            "test_split": "test" if "test" in files else None,
        }
    if split == "search":
        own |= {"test_split": "train", "validation_split": None}  # lm-eval scores the test split where there is one
    return own


def searchable(spec: TaskSpec) -> bool:
    """Tell whether the task has training items, which a search may score without touching reported ones."""
    known = layout(spec.name)
    if known is None:
        return False
    if spec.source.folder is None:
        return known.evaluate != "test" or known.train is not None
    return known.train is not None and known.train in local_files(spec.name, Path(spec.source.folder))


def load(specs: tuple[TaskSpec, ...], folder: Path, split: Split = "report") -> dict[str, Any]:
    """Return lm-eval Task objects by name; definitions are written to `folder`. Unknown tasks load by lm-eval's own name."""
    from lm_eval.tasks import TaskManager

    if all(spec.source.folder is not None for spec in specs):
        os.environ["HF_DATASETS_OFFLINE"] = "1"  # local files only: no time lost asking a hub
    place = folder / split
    place.mkdir(parents=True, exist_ok=True)
    for spec in specs:
        if layout(spec.name) is not None:
            (place / f"{spec.name}.yaml").write_text(json.dumps(definition(spec, split)))  # JSON is YAML
    registered = all(layout(spec.name) is not None for spec in specs)
    tasks = TaskManager(include_path=place, include_defaults=not registered)
    return dict(tasks.load([spec.name for spec in specs])["tasks"])


def question(task: Any, document: dict[str, Any]) -> str:
    """Return the bare question, the same for every task that asks it: frame, case and white space do not count."""
    words = query(task, document).casefold().split()
    return " ".join(words[words[:1] == ["question:"] : len(words) - (words[-1:] == ["answer:"])])


def query(task: Any, document: dict[str, Any]) -> str:
    """Return the text that identifies an item's question, to keep splits disjoint and to cluster items."""
    from lm_eval.utils import apply_template

    asked = task.config.doc_to_decontamination_query  # lm-eval's own reader of this field evaluates the text as Python
    if asked and asked in document:
        return str(document[asked])
    return apply_template(asked, document) if asked else str(task.doc_to_text(document))
