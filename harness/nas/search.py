"""The step that searches a super-network: NSGA-II over fitness and parameters, every candidate recorded as it is scored."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from harness.nas.fitness import Objective, load_items
from harness.nas.space import Architecture, Space, stratified
from harness.spec import Cost, Step, TaskSpec, Work

TOKENS_PER_ITEM = 60


class Search(Step):
    """Minimise (fitness on the search split, parameters) with NSGA-II (Deb et al., 2002) by pymoo.

    Seeds (corners, `uniform`, `middle`, depths alone) and parameter-stratified samples make the first population. The same
    seed asks for the same candidates, and scored ones are read back, so a killed search goes on where it stopped.
    """

    KIND = "search"
    VERSION = 2
    tasks: tuple[TaskSpec, ...]
    report_tasks: tuple[TaskSpec, ...]
    evaluations: int
    items: int  # of each search task
    population: int = 24
    objective: Objective = "choice_loss"
    seed: int = 0

    def title(self) -> str:
        return f"search, {self.evaluations} evaluations"

    def cost(self) -> Cost:
        return Cost(forward_tokens=0.7 * self.evaluations * self.items * len(self.tasks) * TOKENS_PER_ITEM, seconds=12)

    def run(self, work: Work) -> None:
        from harness import progress
        from harness.nas.supernet import Elastic

        model, space, items = prepare(work, self)
        known = Records(work.scratch / "records.jsonl")
        with Elastic(model) as elastic:

            def evaluate(asked: Sequence[Architecture], seeded: bool) -> None:
                new = [key for key in dict.fromkeys(asked) if key not in known.found]
                room = max(0, self.evaluations - len(known.found))
                for architecture, facts in items.score(elastic, new[:room], self.objective):
                    known.add(architecture, {"parameters": space.parameters(architecture), "seed": seeded, **facts})
                    done, best = len(known.found), known.best()
                    progress.report(
                        done / self.evaluations, f"candidate {done}/{self.evaluations}, best loss {best:.4f}"
                    )

            explore(space, evaluate, known, evaluations=self.evaluations, population=self.population, seed=self.seed)
        records = [{"architecture": list(key), **facts} for key, facts in known.found.items()]
        (work.draft / "records.json").write_text(json.dumps(records))
        work.result |= {"evaluations": len(records), "search_items": len(items.items)}


class Records:
    """Scored candidates by architecture, appended to a file one by one; a torn last line is dropped."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.found: dict[Architecture, dict[str, Any]] = {}
        lines = path.read_text().splitlines() if path.exists() else []
        for line in lines:
            try:
                record = json.loads(line)
            except json.JSONDecodeError:
                continue
            self.found[tuple(record.pop("architecture"))] = record
        if lines:
            path.write_text(
                "".join(json.dumps({"architecture": list(key), **facts}) + "\n" for key, facts in self.found.items())
            )

    def add(self, architecture: Architecture, facts: dict[str, Any]) -> None:
        self.found[architecture] = facts
        with self.path.open("a") as stream:
            stream.write(json.dumps({"architecture": list(architecture), **facts}) + "\n")

    def best(self) -> float:
        return min(facts["fitness"] for facts in self.found.values())


def prepare(work: Work, step: Search) -> tuple[Any, Space, Any]:
    """Return the super-network, its space and the packed search items."""
    from harness.models import checkpoint
    from harness.pruning.anatomy import layer_shapes, outside_parameters

    source = work.checkpoint()
    model, tokenizer = checkpoint.load(source, work.device), checkpoint.load_tokenizer(source)
    order = json.loads((source.parent / "order.json").read_text())["order"]
    space = Space(tuple(layer_shapes(model)), tuple(order), outside_parameters(model))
    items = load_items(step.tasks, step.report_tasks, tokenizer, model, work.scratch, limit=step.items, seed=step.seed)
    return model, space, items


def explore(
    space: Space,
    evaluate: Callable[[Sequence[Architecture], bool], None],
    known: Records,
    *,
    evaluations: int,
    population: int,
    seed: int,
) -> None:
    """Run NSGA-II until `evaluations` candidates are known; `evaluate(generation, seeded)` scores those that are not yet."""
    from pymoo.algorithms.moo.nsga2 import NSGA2
    from pymoo.core.problem import Problem
    from pymoo.operators.crossover.ux import UniformCrossover
    from pymoo.operators.mutation.pm import PolynomialMutation
    from pymoo.operators.repair.rounding import RoundingRepair

    generator = np.random.default_rng(seed)
    seeds = space.seeds()
    first = np.concatenate([seeds, stratified(space, max(population - len(seeds), population // 2), generator)])
    problem = Problem(n_var=space.genes, n_obj=2, xl=np.zeros(space.genes), xu=space.upper(), vtype=int)
    algorithm = NSGA2(
        pop_size=population,
        sampling=first,
        crossover=UniformCrossover(prob=0.9),
        eliminate_duplicates=True,
        mutation=PolynomialMutation(prob_var=max(0.02, 2 / space.genes), eta=3, repair=RoundingRepair()),
    )
    algorithm.setup(problem, termination=("n_gen", 10_000), seed=seed, verbose=False)
    generation = 0
    while generation < 1000:
        asked = algorithm.ask()
        decoded = [space.decode(individual.X) for individual in asked]
        evaluate(decoded, generation == 0)
        if len(known.found) >= evaluations:
            return
        for individual, architecture in zip(asked, decoded, strict=True):
            objectives = [known.found[architecture]["fitness"], space.parameters(architecture)]
            individual.set("F", np.array(objectives, dtype=float))
            individual.evaluated.update({"F"})
        algorithm.tell(infills=asked)
        generation += 1
