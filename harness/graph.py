"""From a run's configuration to a graph of steps, each piece of work once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from harness import limits, places, registry
from harness.config import ConfigErrors, RunConfig
from harness.data import suites
from harness.evaluation.evaluate import Evaluate
from harness.machine import environment
from harness.measures.agreement import Agreement
from harness.measures.all_measures import measures
from harness.models.described import Description, described
from harness.models.source import Import, ModelSource, resolve
from harness.pruning.budget import check_budget
from harness.quantities import plain
from harness.runtimes.runtime import TORCH
from harness.spec import CalibrationSpec, Method, Node, Setup, TaskSpec
from harness.words import recipes
from harness.words.nearest import nearest

WINDOWS = {"samples": 2, "length": 512}  # on which a runtime's predictions are compared with torch's


@dataclass(frozen=True)
class Variant:
    """Model, recipe, quantizer: a row of the table and the steps it is made of."""

    name: str
    recipe: str
    method: str
    budget: float | None
    quantizer: str
    simulated: bool
    emulated: bool
    checkpoint: Node  # the last step that made it: of another runtime than torch, its artifact's
    measures: dict[str, Node]
    runtime: str = TORCH
    bytes: float | None = None  # the share of the dense model's bytes that was asked for, of budgets in bytes

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
    quantities: dict[str, dict[str, dict[str, str]]] = field(default_factory=dict)  # by task and metric
    origin: dict[str, Any] = field(
        default_factory=dict
    )  # what tells the dense model's weights apart, wherever they lie

    def titles(self) -> dict[str, str]:
        """Return what progress lines call each step, by key: measures with the variant that they belong to."""
        by_key: dict[str, str] = {}
        for variant in self.variants:
            for node in variant.measures.values():
                by_key.setdefault(node.key, f"{node.step.title()} {variant.name}")
        for node in self.steps():
            by_key.setdefault(node.key, node.step.title())
        return by_key

    def steps(self) -> list[Node]:
        """Return each distinct step once: checkpoints before measures, timed work last."""
        ordered: dict[str, Node] = {}
        for variant in self.variants:
            for node in variant.chain():
                ordered.setdefault(node.key, node)
        nodes = [node for variant in self.variants for node in variant.measures.values()]
        kinds = list(dict.fromkeys(kind for variant in self.variants for kind in variant.measures))
        for node in sorted(nodes, key=lambda node: (getattr(node.step, "TIMED", False), kinds.index(node.step.KIND))):
            ordered.setdefault(node.key, node)
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
    model = Description()
    try:
        source = resolve(run.model)
        model = described(source)
    except ValueError as error:
        errors.append(str(error))
    try:
        tasks, search = suites.sources(suite, run.data_dir, notices)
    except ValueError as error:
        errors.append(str(error))
    for use, name in _texts(run, suite).items():
        try:
            find = suites.training_source if use == "training" else suites.text_source
            own = use == "calibration" and name == run.calibration.text
            texts[use] = find(name, run.data_dir, None if own else suite.beside)
        except ValueError as error:
            errors.append(str(error))
    errors += [*_not_measurable(run), *places.unusable(run)]
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
            variants += list(_variants(run, recipe, dense, setup, model, source, notices))
        except ValueError as error:
            errors.append(str(error))
    notices[:] = dict.fromkeys(notices)
    variants = _distinct(variants, notices, errors)
    drawn = {"seed": run.seed} if source.kind == "random" else {}
    origin = {"kind": source.kind, "content": source.content, **drawn}
    quantities = {spec.name: {metric.key: plain(metric) for metric in spec.metrics} for spec in tasks}
    made = Plan(run, variants, notices, {spec.name: spec.metric for spec in tasks}, quantities, origin)
    errors += limits.too_long((node.step for node in made.steps()), model)
    if errors:
        raise ConfigErrors(errors)
    return made


def _distinct(variants: list[Variant], notices: list[str], errors: list[str]) -> list[Variant]:
    """Return one variant for each checkpoint, with a line in `notices` for the others.

    `errors` gets different ones of one name.
    """
    by_key: dict[str, Variant] = {}
    for variant in variants:
        first = by_key.setdefault(variant.checkpoint.key, variant)
        if first is not variant:
            same = "is written twice" if first.name == variant.name else f"is {first.name} written otherwise"
            notices.append(f"{variant.name} {same}; it is one row")
    names = Counter(variant.name for variant in by_key.values())
    errors += [
        f"{count} different variants would be called {name}; give their files other names, or budgets that differ in six digits"
        for name, count in names.items()
        if count > 1
    ]
    return list(by_key.values())


def _texts(run: RunConfig, suite: suites.Suite) -> dict[str, str]:
    """Return the names of calibration text and training data.

    What no method of the run needs is the shipped one.
    """
    written = [part for recipe in run.methods for part in recipes.parts(recipe)]
    needs = {need for part in written for need in registry.parse(part, run.settings)[0].NEEDS}
    if any(registry.quantizers()[name].CALIBRATED for name in run.quantizers if name in registry.quantizers()):
        needs.add("calibration")
    shipped = "demo_instructions"
    return {
        "calibration": (run.calibration.text or suite.calibration) if needs else shipped,
        "training": suite.training if "training" in needs else shipped,
    }


def _variants(
    run: RunConfig,
    recipe: str,
    dense: Node,
    setup: Setup,
    model: Description,
    source: ModelSource,
    notices: list[str],
) -> Iterator[Variant]:
    parts = [registry.parse(part, run.settings) for part in recipes.parts(recipe)]
    for kind, _ in parts[1:]:
        if not kind.FOLLOWS:
            raise ValueError(f"{recipe}: {kind.NAME} starts from the dense model and cannot follow another method")
    open_parts = [index for index, (kind, fields) in enumerate(parts) if kind.open_budget(fields)]
    if len(open_parts) > 1:
        first, second = (parts[index][0].NAME for index in open_parts[:2])
        raise ValueError(
            f"{recipe}: the run's budgets go to {first}; write {second}'s own, {second}(budget=...), the share of what "
            f"{first} leaves"
        )
    shown = recipes.label(recipe)
    for size in (run.bytes or run.budgets) if open_parts else (None,):
        asked = _methods(parts, open_parts, size)
        limits.check_families(recipe, asked, model)
        for where, name in places.pairs(run, recipe, asked, model, notices):
            budget, methods = size, asked
            if run.bytes and size is not None:
                budget = places.budget(run, source, shown, asked, size, (where, name), notices)
                if budget is None:
                    continue
                methods = _methods(parts, open_parts, budget)
            checkpoint = dense
            for method in methods:
                for step in method.stages(setup):
                    checkpoint = Node(step, checkpoint)
            quantizer = registry.quantizer(name)
            place = places.place(where, quantizer, checkpoint, dense, setup)
            label = shown if budget is None else f"{shown}@{budget:g}"
            yield Variant(
                name=label + (f"+{name}" if quantizer else "") + (f":{where}" if where != TORCH else ""),
                recipe=shown,
                method="+".join(method.NAME for method in methods),
                budget=budget if budget is not None else _own_budget(methods),
                quantizer=name,
                simulated=any(method.simulated for method in methods),
                emulated=any(method.emulated for method in methods),
                checkpoint=place.final,
                measures=_measures(run, setup, place),
                runtime=where,
                bytes=size if run.bytes else None,
            )


def _methods(
    parts: list[tuple[type[Method], dict[str, Any]]], open_parts: list[int], size: float | None
) -> list[Method]:
    """Return the methods of a recipe, the first open one with a budget."""
    methods = []
    for index, (kind, fields) in enumerate(parts):
        takes = size is not None and index == open_parts[0]
        methods.append(registry.build(kind, {**fields, **({"budget": check_budget(size)} if takes else {})}))  # type: ignore[arg-type]
    return methods


def _own_budget(methods: list[Method]) -> float | None:
    written = [getattr(method, "budget", None) for method in methods]
    return next((budget for budget in written if budget is not None), None)


def _not_measurable(run: RunConfig) -> list[str]:
    """Return a line for each measure that is unknown, or that this machine has not the means for."""
    device = run.device if run.device != "auto" else "cuda" if environment.accelerators() else "cpu"
    lines = []
    for name in run.measures:
        if name not in measures():
            lines.append(f"measures: {name!r} is unknown; {nearest(name, list(measures()))}")
        elif why := measures()[name].unavailable(device):
            lines.append(f"measures: {name}: {why}; or leave {name} out")
    return lines


def _measures(run: RunConfig, setup: Setup, place: places.Place) -> dict[str, Node]:
    fingerprint = environment.fingerprint()
    evaluate = Evaluate(tasks=setup.report_tasks, limit=run.limit, scorer=run.scorer, runtime=place.computes)
    nodes = {"evaluate": Node(evaluate, place.scored)}
    for name in run.measures:
        kind = measures()[name]
        if (name == "speed" and not run.measure.speed) or (place.runtime != TORCH and not kind.IN_RUNTIMES):
            continue
        step = kind.of_run(run.measure, fingerprint)
        if place.runtime != TORCH:
            step = step.in_runtime(place.runtime, place.version)
        nodes[name] = Node(step, place.final, needs=place.references if kind.BESIDE_DENSE else ())
    if place.runtime != TORCH:
        compared = setup.calibration.model_copy(update=WINDOWS | {"seed": run.seed + 1})
        step = Agreement(runtime=place.runtime, library=place.version, windows=compared)
        nodes[Agreement.KIND] = Node(step, place.final)
    return nodes
