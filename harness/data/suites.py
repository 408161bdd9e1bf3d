"""Read a suite: a YAML file that names tasks, metrics, calibration text and training data."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from functools import cache, partial
from importlib import resources
from itertools import takewhile
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, ValidationError, field_validator, model_validator

from harness import quantities
from harness.data import catalogue, origin, own_text, targets
from harness.data.definitions import OVER_ITEMS, Definition, definitions, means_parts_alike
from harness.data.mirror import absent, count_rows, local_files, shortfalls
from harness.quantities import METRICS, Quantity
from harness.spec import DataSource, TaskSpec
from harness.words import yaml_text
from harness.words.misfits import misfits
from harness.words.nearest import nearest

OWN_LOSSES = ("weighted_perplexity", "bits_per_byte")  # aggregations of pairs of a log-likelihood and its units
TOKEN_METRICS = {"token_perplexity": "weighted_perplexity"}  # of the tasks that are windows of running text


class SuiteTask(BaseModel):
    """A task by lm-eval's name. Without `metric`: acc where there is one, else the definition's first."""

    model_config = ConfigDict(extra="forbid")
    # no path: files of that name are written and read
    task: Annotated[str, Field(pattern=r"^\w[\w.@+:|-]*$")] = Field(
        description="lm-eval's name of it, or the name of a definition of your own, TASK.yaml beside the suite file"
    )
    name: Annotated[str, Field(pattern=r"^[\w.@+-]*$")] = Field(
        "", description="of its column; the task's where empty. A suite that holds one task twice needs it"
    )
    metric: str | None = Field(
        None, description="what tables show; null for acc where there is one, else the definition's first"
    )
    shots: Annotated[int, Field(ge=0)] | None = Field(
        None, description="examples ahead of the question; null for as many as the definition says"
    )
    optional: bool = Field(False, description="true leaves the task out where its data is not there, with a note")
    window: Annotated[int, Field(gt=1)] | None = Field(
        None, description="tokens of a window, where metric is token_perplexity; null for 2048"
    )
    filter: str | None = Field(
        None, description="of the definition's filters the one whose answers count; null for the first"
    )
    share: bool | None = Field(
        None,
        description="whether the metric's items lie in [0, 1], so that it is a percentage; null for as lm-eval's own do",
    )

    @field_validator("task")
    @classmethod
    def _no_text_that_methods_learn_from(cls, value: str) -> str:
        if value in catalogue.TEXT:
            held_out = f"{value}_token"
            instead = f"; the text that is held out is the task {held_out}" if held_out in catalogue.TASKS else ""
            raise ValueError(f"{value} is a text that methods learn from, and is not reported{instead}")
        return value


class Suite(BaseModel):
    """What a suite file may say."""

    model_config = ConfigDict(extra="forbid")
    name: str = Field(description="of the suite")
    tasks: list[SuiteTask] = Field(min_length=1, description="what is scored, with the keys below")
    search: list[Annotated[str, Field(pattern=r"^\w[\w.@+:|-]*$")]] = Field(
        [], description="tasks whose training items a search scores; those of the suite where empty"
    )
    calibration: str = Field("wikitext2", description="text that methods look at: a name, or a file beside the suite")
    training: str = Field(
        "alpaca", description="instructions that nas and recover train on: a name, or a file beside it"
    )
    _beside: Path | None = PrivateAttr(default=None)  # folder of a user's file, where own definitions lie

    @property
    def beside(self) -> Path | None:
        """The folder of a user's own suite file, where its definitions and texts lie; None of a shipped one."""
        return self._beside

    @model_validator(mode="after")
    def _one_column_each(self) -> Suite:
        counts = Counter(task.name or task.task for task in self.tasks)
        twice = [name for name, count in counts.items() if count > 1]
        if twice:
            raise ValueError(f"{', '.join(twice)} occurs twice; give each its own `name`")
        return self


def known() -> list[str]:
    """Return the names of the shipped suites."""
    return yaml_text.names(_shipped())


def origins(name: str) -> str:
    """Return what a shipped suite's file says ahead of its keys: whose tasks these are."""
    lines = (_shipped() / f"{name}.yaml").read_text(encoding="utf-8").splitlines()
    return " ".join(line.removeprefix("# ") for line in takewhile(lambda line: line.startswith("# "), lines))


def read(name: str) -> Suite:
    """Return the suite shipped as `name`, or in the file that `name` points to.

    ValueError says what is wrong.
    """
    path = yaml_text.place(name, _shipped(), "suite")
    try:
        suite = Suite.model_validate(yaml_text.read(path, "suite file"))
    except ValidationError as error:
        lines = misfits(error, known=[*Suite.model_fields, *SuiteTask.model_fields])
        raise ValueError("\n".join(f"suite file {path}: {line}" for line in lines)) from None
    suite._beside = path.resolve().parent if name.endswith(yaml_text.ENDINGS) else None
    return suite


def _shipped() -> Path:
    return Path(str(resources.files("suites")))


def sources(
    suite: Suite, data_dir: Path | None, notices: list[str]
) -> tuple[tuple[TaskSpec, ...], tuple[TaskSpec, ...]]:
    """Return report tasks and search tasks with their data found.

    ValueError lists all that is missing or cannot be.

    Optional tasks without data are left out, with a line in `notices`; so are files that are cut short told.
    """
    report: list[TaskSpec] = []
    errors: list[str] = []
    find = cache(partial(origin.source, data_dir=data_dir, beside=suite._beside))
    for task in suite.tasks:
        try:
            source = find(task.task)
        except ValueError as error:
            (notices if task.optional else errors).append(str(error))
            continue
        try:
            report.append(_spec(task, source, notices))
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


def _spec(task: SuiteTask, source: DataSource, notices: list[str]) -> TaskSpec:
    """Return the task with its metric and shots settled.

    ValueError when its definition does not allow them.
    """
    leaves = list(definitions(source).values())
    first = leaves[0] if leaves else Definition({"task": task.task})
    metric = _metric(task, first.metrics() if leaves else TOKEN_METRICS)
    chosen = _filter(task, leaves, notices)
    metrics = _quantities(task, metric, leaves, notices)
    if task.window and metric not in TOKEN_METRICS:
        raise ValueError(f"{task.task}: window={task.window} is for tasks of running text ({', '.join(TOKEN_METRICS)})")
    shots = first.shots if task.shots is None else task.shots
    if shots and first.examples is None:
        lacking = (
            f"; data_dir={source.folder} lacks {', '.join(absent(source.name, Path(source.folder)))}"
            if source.folder
            else ""
        )
        raise ValueError(
            f"{task.task}: shots={shots} needs examples that are not reported, and no split holds any{lacking}"
        )
    if shots and source.folder and (fewest := _fewest_examples(source)) is not None and fewest < shots:
        raise ValueError(f"{task.task}: shots={shots}, but data_dir={source.folder} has {fewest} examples to show")
    if shots and first.examples == first.evaluated:
        alone = (
            first.keys.get("test_split") != first.examples
        )  # lm-eval takes an item out of its examples there, only there
        own = ", and an item may be among its own: read its score as an upper bound" if alone else ""
        notices.append(f"{task.task}: its examples come from the split that is reported, as lm-eval defines it{own}")
    window = {"window": task.window} if task.window else {}
    spec = TaskSpec(
        source=source,
        label=task.name,
        metric=metric,
        shots=shots,
        optional=task.optional,
        filter=chosen,
        metrics=metrics,
        drawn=int(any(leaf.drawn for leaf in leaves)),
        joined=catalogue.JOINED.get(task.task, 1),
        **window,
    )
    if source.definition is not None:
        targets.check(spec)
    return spec


def _fewest_examples(source: DataSource) -> int | None:
    """Return the rows of a mirror's file that examples are drawn from, of the subject that has the fewest.

    None for no file.
    """
    assert source.folder is not None
    files, counts = local_files(source.name, Path(source.folder)), []
    for part, each in definitions(source).items():
        leaf = catalogue.layout(part)
        if each.examples in files:
            counts.append(count_rows(files[each.examples], leaf.subject if leaf else None))
    return min(counts, default=None)


def _quantities(task: SuiteTask, metric: str, leaves: list[Definition], notices: list[str]) -> tuple[Quantity, ...]:
    """Return what the definitions say of the metrics.

    ValueError where nobody says which way the headline is better.
    """
    if not leaves:
        return (quantities.metric(metric),)
    first = leaves[0].quantities()
    first[metric] = leaves[0].quantities(bounded=task.share)[metric]
    headline = first[metric]
    if not headline.better:
        raise ValueError(
            f"{task.task}: its definition does not say whether more {metric} is better; give it higher_is_better"
        )
    unlike = [other for other in leaves if other.quantities(bounded=task.share).get(metric) != headline]
    if unlike:
        raise ValueError(
            f"{task.task}: its tasks define {metric} differently ({unlike[0].keys.get('task')} is unlike the first); "
            "name them in the suite one by one"
        )
    if len(leaves) > 1 and catalogue.layout(task.task) is None and means_parts_alike(task.task, metric):
        raise ValueError(
            f"{task.task}: lm-eval's mean of {metric} counts its tasks alike or in a way of its own, and items of different "
            "tasks would weigh differently; name its tasks in the suite one by one"
        )
    if task.share and headline.kind != "share":
        raise ValueError(f"{task.task}: share=true is for means over items, and {metric} is a {headline.kind}")
    if headline.kind == "mean" and task.share is None:
        notices.append(
            f"{task.task}: {metric} is shown as it is and in no average; where its items lie in [0, 1], say share: true"
        )
    if len(listed := leaves[0].filters) > 1:
        first[metric] = replace(headline, through=task.filter or listed[0])
    return tuple(first.values())


def _filter(task: SuiteTask, leaves: list[Definition], notices: list[str]) -> str:
    """Return the filter that the suite names, empty for the first.

    Of several a line in `notices` tells it.
    """
    listed = leaves[0].filters if leaves else []
    if task.filter is not None:
        if task.filter not in listed:
            named = ", ".join(listed) or "none"
            raise ValueError(f"{task.task}: filter {task.filter} is none of its filters ({named})")
        return task.filter
    if len(listed) > 1:
        notices.append(f"{task.task}: of its filters ({', '.join(listed)}) the first is scored; choose with filter:")
    return ""


def _metric(task: SuiteTask, metrics: dict[str, str]) -> str:
    metric = task.metric or ("acc" if "acc" in metrics else next(iter(metrics)))
    if metric not in metrics:
        raise ValueError(f"{task.task}: metric {metric} is none of its metrics ({', '.join(metrics)})")
    if metrics[metric] in OWN_LOSSES and metric not in METRICS:
        raise ValueError(
            f"{task.task}: metric {metric} is aggregated by {metrics[metric]}, whose pairs are kept of lm-eval's own "
            "metrics alone; return one number an item and aggregate by perplexity or mean"
        )
    if metrics[metric] not in OVER_ITEMS:
        raise ValueError(
            f"{task.task}: metric {metric} is aggregated by {metrics[metric].removeprefix('!function ')}, which is no mean "
            f"over items, so variants cannot be compared item by item"
        )
    return metric


def training_source(name: str, data_dir: Path | None, beside: Path | None = None) -> DataSource:
    """Return training data by name, or a file of the user's.

    ValueError where it is running text, which answers nothing.
    """
    source = text_source(name, data_dir, beside)
    own = source.name == own_text.NAME
    running = not own_text.instructs(own_text.rows(Path(source.folder or ""))) if own else name in catalogue.RUNNING
    if running:
        instructions = ", ".join(each for each in catalogue.TEXT if each not in catalogue.RUNNING)
        raise ValueError(
            f"training: {name} has no instructions to train on; name {instructions}, or JSON lines with instruction and output"
        )
    return source


def text_source(name: str, data_dir: Path | None, beside: Path | None = None) -> DataSource:
    """Return calibration or training text by name, or a file of the user's.

    `beside` is the folder of the suite that names it.
    """
    if name.endswith(own_text.ENDINGS):
        return own_text.source(name, beside)
    if name not in catalogue.TEXT:
        raise ValueError(f"text {name} is unknown; {nearest(name, list(catalogue.TEXT))}")
    return origin.source(name, data_dir)
