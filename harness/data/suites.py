"""Read a suite: a YAML file that names tasks, metrics, calibration text and training data."""

from __future__ import annotations

from collections import Counter
from functools import cache, partial
from importlib import resources
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, ValidationError, model_validator

from harness.data import layout
from harness.data.definitions import OVER_ITEMS, Definition, definitions
from harness.data.places import absent, nearest, shortfalls
from harness.spec import DataSource, TaskSpec

TOKEN_METRICS = {"token_perplexity": "weighted_perplexity"}  # of the tasks that are windows of running text


class SuiteTask(BaseModel):
    """A task by lm-eval's name. Without `metric`: acc where there is one, else the definition's first."""

    model_config = ConfigDict(extra="forbid")
    task: str
    name: Annotated[str, Field(pattern=r"^[\w.@+-]*$")] = ""  # of its column, when not the task's
    metric: str | None = None
    shots: Annotated[int, Field(ge=0)] | None = None  # None: as the definition says
    optional: bool = False
    window: Annotated[int, Field(gt=1)] | None = None  # tokens, of tasks that are windows of running text; None: 2048


class Suite(BaseModel):
    """What a suite file may say."""

    model_config = ConfigDict(extra="forbid")
    name: str
    tasks: Annotated[list[SuiteTask], Field(min_length=1)]
    search: list[str] = []  # tasks whose training items a search scores, when not those of `tasks`
    calibration: str = "wikitext2"
    training: str = "alpaca"
    _beside: Path | None = PrivateAttr(default=None)  # folder of a user's file, where own definitions lie

    @model_validator(mode="after")
    def _one_column_each(self) -> Suite:
        counts = Counter(task.name or task.task for task in self.tasks)
        twice = [name for name, count in counts.items() if count > 1]
        if twice:
            raise ValueError(f"{', '.join(twice)} occurs twice; give each its own `name`")
        return self


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
        suite = Suite.model_validate(yaml.safe_load(path.read_text()))
    except ValidationError as error:
        lines = [f"suite file {path}: {_finding(item)}" for item in error.errors()]
        raise ValueError("\n".join(lines)) from None
    except yaml.YAMLError as error:
        raise ValueError(f"suite file {path}: no YAML: {' '.join(str(error).split())}") from None
    suite._beside = path.resolve().parent if name.endswith((".yaml", ".yml")) else None
    return suite


def _finding(item: Any) -> str:
    where = ".".join(map(str, item["loc"]))
    if item["type"] == "extra_forbidden":
        allowed = [*Suite.model_fields, *SuiteTask.model_fields]
        return f"{where}: no such key; {nearest(str(item['loc'][-1]), allowed)}"
    return f"{where or 'content'}: {item['msg']}"


def sources(
    suite: Suite, data_dir: Path | None, notices: list[str]
) -> tuple[tuple[TaskSpec, ...], tuple[TaskSpec, ...]]:
    """Return report tasks and search tasks with their data found; ValueError lists all that is missing or cannot be.

    Optional tasks without data are left out, with a line in `notices`; so are files that are cut short told.
    """
    report: list[TaskSpec] = []
    errors: list[str] = []
    find = cache(partial(layout.source, data_dir=data_dir, beside=suite._beside))
    for task in suite.tasks:
        try:
            found = find(task.task)
        except ValueError as error:
            (notices if task.optional else errors).append(str(error))
            continue
        try:
            report.append(_spec(task, found, notices))
        except ValueError as error:
            errors.append(str(error))
    if errors:
        raise ValueError("\n".join(errors))
    search = []
    for name in suite.search or dict.fromkeys(spec.task for spec in report):
        try:
            search.append(TaskSpec(source=find(name)))
        except ValueError as error:
            notices.append(f"search leaves out {error}")
    for name, folder in {(spec.task, spec.source.folder): None for spec in (*report, *search)}:
        notices += [line for line in (shortfalls(name, Path(folder)) if folder else ()) if line not in notices]
    return tuple(report), tuple(search)


def _spec(task: SuiteTask, found: DataSource, notices: list[str]) -> TaskSpec:
    """Return the task with its metric and shots settled; ValueError when its definition does not allow them."""
    leaves = list(definitions(found).values())
    first = leaves[0] if leaves else Definition({"task": task.task})
    metric = _metric(task, first.metrics() if leaves else TOKEN_METRICS)
    if task.window and metric not in TOKEN_METRICS:
        raise ValueError(f"{task.task}: window={task.window} is for tasks of running text ({', '.join(TOKEN_METRICS)})")
    shots = first.shots if task.shots is None else task.shots
    if shots and first.examples is None:
        lacking = (
            f"; data_dir={found.folder} lacks {', '.join(absent(found.name, Path(found.folder)))}"
            if found.folder
            else ""
        )
        raise ValueError(
            f"{task.task}: shots={shots} needs examples that are not reported, and no split holds any{lacking}"
        )
    if shots and first.examples == first.evaluated:
        notices.append(f"{task.task}: its examples come from the split that is reported, as lm-eval defines it")
    window = {"window": task.window} if task.window else {}
    return TaskSpec(source=found, label=task.name, metric=metric, shots=shots, optional=task.optional, **window)


def _metric(task: SuiteTask, metrics: dict[str, str]) -> str:
    metric = task.metric or ("acc" if "acc" in metrics else next(iter(metrics)))
    if metric not in metrics:
        raise ValueError(f"{task.task}: metric {metric} is none of its metrics ({', '.join(metrics)})")
    if metrics[metric] not in OVER_ITEMS:
        raise ValueError(
            f"{task.task}: metric {metric} is aggregated by {metrics[metric].removeprefix('!function ')}, which is no mean "
            f"over items, so variants cannot be compared item by item"
        )
    return metric


def text_source(name: str, data_dir: Path | None) -> DataSource:
    """Return calibration or training text by name."""
    if name not in layout.TEXT:
        raise ValueError(f"text {name} is unknown; {nearest(name, list(layout.TEXT))}")
    return layout.source(name, data_dir)
