"""Read a suite: a YAML file that names tasks, metrics, calibration text and training data."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from harness.data import layout
from harness.data.layout import nearest
from harness.spec import DataSource, TaskSpec


class SuiteTask(BaseModel):
    model_config = ConfigDict(extra="forbid")
    task: str
    metric: Literal["acc", "acc_norm", "word_perplexity", "token_perplexity"] = "acc"
    shots: Annotated[int, Field(ge=0)] = 0
    optional: bool = False


class Suite(BaseModel):
    """What a suite file may say."""

    model_config = ConfigDict(extra="forbid")
    name: str
    tasks: Annotated[list[SuiteTask], Field(min_length=1)]
    search: list[str] = []  # tasks whose training items a search scores, when not those of `tasks`
    calibration: str = "wikitext2"
    training: str = "alpaca"


def known() -> list[str]:
    """Return the names of the shipped suites."""
    return sorted(
        path.name.removesuffix(".yaml") for path in resources.files("suites").iterdir() if path.name.endswith(".yaml")
    )


def read(name: str) -> Suite:
    """Return the suite shipped as `name`, or in the file that `name` points to; ValueError says what is wrong."""
    path = (
        Path(name).expanduser()
        if name.endswith((".yaml", ".yml"))
        else Path(str(resources.files("suites") / f"{name}.yaml"))
    )
    if not path.is_file():
        if name.endswith((".yaml", ".yml")):
            raise ValueError(f"suite={name}: no such file")
        raise ValueError(f"suite={name} is unknown; {nearest(name, known())}")
    try:
        return Suite.model_validate(yaml.safe_load(path.read_text()))
    except ValidationError as error:
        lines = [f"suite file {path}: {_finding(item)}" for item in error.errors()]
        raise ValueError("\n".join(lines)) from None
    except yaml.YAMLError as error:
        raise ValueError(f"suite file {path}: no YAML: {' '.join(str(error).split())}") from None


def _finding(item: Any) -> str:
    where = ".".join(map(str, item["loc"]))
    if item["type"] == "extra_forbidden":
        allowed = [*Suite.model_fields, *SuiteTask.model_fields]
        return f"{where}: no such key; {nearest(str(item['loc'][-1]), allowed)}"
    return f"{where or 'content'}: {item['msg']}"


def sources(
    suite: Suite, data_dir: Path | None, notices: list[str]
) -> tuple[tuple[TaskSpec, ...], tuple[TaskSpec, ...]]:
    """Return report tasks and search tasks with their data found; ValueError lists all data that is missing.

    Optional tasks without data are left out, with a line in `notices`.
    """
    report: list[TaskSpec] = []
    errors: list[str] = []
    for task in suite.tasks:
        try:
            found = layout.source(task.task, data_dir)
        except ValueError as error:
            (notices if task.optional else errors).append(str(error))
            continue
        report.append(TaskSpec(source=found, metric=task.metric, shots=task.shots, optional=task.optional))
    if errors:
        raise ValueError("\n".join(errors))
    search = []
    for name in suite.search or [spec.name for spec in report]:
        try:
            search.append(TaskSpec(source=layout.source(name, data_dir)))
        except ValueError as error:
            notices.append(f"search leaves out {error}")
    return tuple(report), tuple(search)


def text_source(name: str, data_dir: Path | None) -> DataSource:
    """Return calibration or training text by name."""
    if name not in layout.TEXT:
        raise ValueError(f"text {name} is unknown; {nearest(name, list(layout.TEXT))}")
    return layout.source(name, data_dir)
