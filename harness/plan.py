"""From a run's configuration to a graph of steps, each piece of work once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from harness import environment, recipes, registry
from harness.config import ConfigErrors, RunConfig
from harness.data import suites
from harness.evaluation.evaluate import Evaluate
from harness.measures.footprint import Footprint
from harness.measures.speed import Speed
from harness.models.source import Import, resolve
from harness.pruning.budget import check_budget
from harness.quantize import Quantize
from harness.spec import CalibrationSpec, Method, Node, Setup, TaskSpec


@dataclass(frozen=True)
class Variant:
    """Model, recipe, quantizer: a row of the table and the steps it is made of."""

    name: str
    recipe: str
    method: str
    budget: float | None
    quantizer: str
    simulated: bool
    checkpoint: Node
    measures: dict[str, Node]

    def chain(self) -> list[Node]:
        """Return the steps that made the checkpoint, the dense model first."""
        return [*reversed(self.checkpoint.ancestors()), self.checkpoint]


@dataclass
class Plan:
    """All variants of a run, and its steps in an order in which they can be done."""

    run: RunConfig
    variants: list[Variant]
    notices: list[str] = field(default_factory=list)
    metrics: dict[str, str] = field(default_factory=dict)

    def steps(self) -> list[Node]:
        """Return each distinct step once: checkpoints before measures, timed work last."""
        ordered: dict[str, Node] = {}
        for variant in self.variants:
            for node in variant.chain():
                ordered.setdefault(node.key, node)
        for kind in ("evaluate", "footprint", "speed"):
            for variant in self.variants:
                if kind in variant.measures:
                    ordered.setdefault(variant.measures[kind].key, variant.measures[kind])
        return list(ordered.values())


def build(run: RunConfig) -> Plan:
    """Return the plan; ConfigErrors lists the model, data, and methods that are not to be had."""
    errors: list[str] = []
    notices: list[str] = []
    suite = suites.read(run.suite)
    tasks: tuple[TaskSpec, ...] = ()
    search: tuple[TaskSpec, ...] = ()
    texts: dict[str, Any] = {}
    source = None
    try:
        source = resolve(run.model)
    except ValueError as error:
        errors.append(str(error))
    try:
        tasks, search = suites.sources(suite, run.data_dir, notices)
    except ValueError as error:
        errors.append(str(error))
    for use, name in _texts(run, suite).items():
        try:
            texts[use] = suites.text_source(name, run.data_dir)
        except ValueError as error:
            errors.append(str(error))
    if errors or source is None:
        raise ConfigErrors(errors)
    dense = Node(Import(source=source, dtype=run.resolved_dtype, seed=run.seed))  # type: ignore[arg-type]
    calibration = CalibrationSpec(
        source=texts["calibration"], samples=run.calibration.samples, length=run.calibration.length, seed=run.seed
    )
    setup = Setup(
        calibration=calibration, training=texts["training"], search_tasks=search, report_tasks=tasks, seed=run.seed
    )
    variants: list[Variant] = []
    for recipe in dict.fromkeys(["dense", *run.methods]):
        try:
            variants += list(_variants(run, recipe, dense, setup))
        except ValueError as error:
            errors.append(str(error))
    if errors:
        raise ConfigErrors(errors)
    return Plan(run, variants, notices, {spec.name: spec.metric for spec in tasks})


def _texts(run: RunConfig, suite: suites.Suite) -> dict[str, str]:
    """Return the names of calibration text and training data; what no method of the run needs is the shipped one."""
    written = [part for recipe in run.methods for part in recipes.parts(recipe)]
    needs = {need for part in written for need in registry.parse(part, run.settings)[0].NEEDS}
    shipped = "demo_instructions"
    return {
        "calibration": (run.calibration.text or suite.calibration) if needs else shipped,
        "training": suite.training if "training" in needs else shipped,
    }


def _variants(run: RunConfig, recipe: str, dense: Node, setup: Setup) -> Iterator[Variant]:
    parts = [registry.parse(part, run.settings) for part in recipes.parts(recipe)]
    open_parts = [index for index, (kind, fields) in enumerate(parts) if kind.open_budget(fields)]
    for budget in run.budgets if open_parts else (None,):
        methods = []
        for index, (kind, fields) in enumerate(parts):
            takes = budget is not None and index == open_parts[0]
            methods.append(
                registry.build(
                    kind, {**fields, **({"budget": check_budget(budget)} if takes and budget is not None else {})}
                )
            )
        checkpoint = dense
        for index, method in enumerate(methods):
            if index and not method.FOLLOWS:
                raise ValueError(
                    f"{recipe}: {method.NAME} starts from the dense model and cannot follow another method"
                )
            for step in method.stages(setup):
                checkpoint = Node(step, checkpoint)
        shown = recipes.label(recipe)
        label = shown if budget is None else f"{shown}@{budget:g}"
        for name in dict.fromkeys(run.quantizers):
            quantizer = registry.quantizer(name)
            final = Node(Quantize(quantizer=quantizer), checkpoint) if quantizer else checkpoint
            yield Variant(
                name=label + (f"+{name}" if quantizer else ""),
                recipe=shown,
                method="+".join(method.NAME for method in methods),
                budget=budget if budget is not None else _own_budget(methods),
                quantizer=name,
                simulated=any(method.simulated for method in methods),
                checkpoint=final,
                measures=_measures(run, setup, final, dense),
            )


def _own_budget(methods: list[Method]) -> float | None:
    written = [getattr(method, "budget", None) for method in methods]
    return next((budget for budget in written if budget is not None), None)


def _measures(run: RunConfig, setup: Setup, final: Node, dense: Node) -> dict[str, Node]:
    fingerprint = environment.fingerprint()
    found = {
        "evaluate": Node(Evaluate(tasks=setup.report_tasks, limit=run.limit, scorer=run.scorer), final),
        "footprint": Node(Footprint(fingerprint=fingerprint), final),
    }
    if run.measure.speed:
        speed = Speed(
            fingerprint=fingerprint,
            rounds=run.measure.rounds,
            prompt_tokens=run.measure.prompt_tokens,
            generate_tokens=run.measure.generate_tokens,
            batches=run.measure.batches,
        )
        found["speed"] = Node(speed, final, needs=(dense,))
    return found
