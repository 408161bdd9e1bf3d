"""The step that takes a network of the asked size from a finished search and cuts it out."""

from __future__ import annotations

import json
from typing import Annotated, Any, ClassVar

import numpy as np
from pydantic import Field

from harness import progress
from harness.compress import store_model
from harness.nas.architecture import Architecture, parse
from harness.nas.controls import CONTROLS, snap
from harness.nas.search_step import Search, prepare
from harness.nas.space import Space
from harness.nas.tally import fitness, merged
from harness.pruning.budget import TOLERANCE, check_reached
from harness.spec import Cost, Step, Work

WINDOW = 0.08  # share of the dense parameters around the budget from which finalists come


class Pick(Step):
    """Bring the best candidates, and the controls, to the budget exactly and extract the best.

    They are scored on the search set and on what the search did not see; the best is best over both. One search serves any
    number of budgets.
    """

    KIND = "pick"
    VERSION: ClassVar[int] = 4  # 4: whole layers stay whole on the way to the budget
    budget: Annotated[float, Field(gt=0, le=1)]
    search: Search
    finalists: Annotated[int, Field(gt=0)] = 6

    def title(self) -> str:
        return f"pick at {self.budget}"

    def cost(self) -> Cost:
        each = self.search.cost().forward_tokens / self.search.evaluations
        return Cost(forward_tokens=2 * each * (self.finalists + len(CONTROLS)), seconds=10)

    def checkpoint_share(self) -> float:
        return self.budget

    def run(self, work: Work) -> None:
        from harness.nas.supernet import Elastic, extracted

        searched = json.loads((work.parent() / "records.json").read_text())["candidates"]
        model, space, chunks, held_out = prepare(work, self.search)
        target = self.budget * space.body.dense
        candidates = finalists(space, searched, target, self.finalists)
        objective = self.search.objective
        tallies: dict[Architecture, list[Any]] = {name: [] for name in candidates}
        parts = [*chunks, *(part for part in held_out if self.search.objective in part.measures)]
        with Elastic(model) as elastic:
            for number, part in enumerate(parts):
                with progress.within(number / len(parts), (number + 1) / len(parts)):
                    scored = part.score(elastic, list(candidates))
                    for architecture, tally in progress.track(scored, "finalists", total=len(candidates)):
                        tallies[architecture].append(tally)
        records: list[dict[str, Any]] = []
        for architecture, origin in candidates.items():
            both = tallies[architecture]
            mine, spare = both[: len(chunks)], both[len(chunks) :]
            records.append(
                {
                    "architecture": architecture.plain(),
                    "origin": origin,
                    "parameters": space.body.parameters(architecture),
                    "fitness": fitness(merged(mine), objective),
                    "held_out": fitness(merged(spare), objective) if spare else None,
                    "final": fitness(merged(both), objective),
                }
            )
        best = min(records, key=lambda record: record["final"])
        check_reached(best["parameters"], space.body.dense, self.budget, "nas")
        (work.draft / "finalists.json").write_text(json.dumps(records))
        store_model(
            work,
            extracted(model, parse(best["architecture"])),
            search_fitness=best["fitness"],
            held_out_fitness=best["held_out"],
            origin=best["origin"],
            architecture=best["architecture"],
        )


def finalists(space: Space, candidates: list[dict[str, Any]], target: float, count: int) -> dict[Architecture, str]:
    """Return distinct architectures of `target` parameters and where they come from.

    The best near it, moved onto it, and the controls. Where none meets it, the nearest one.
    """
    body = space.body
    whole = [record for record in candidates if record["whole"] and np.isfinite(record["fitness"])]
    near = [record for record in whole if abs(record["parameters"] - target) <= WINDOW * body.dense]
    falls = slope(whole)
    ranked = sorted(near, key=lambda record: record["fitness"] + falls * (record["parameters"] - target))
    offered: dict[Architecture, str] = {}
    for record in ranked:
        moved = onto(space, parse(record["architecture"]), target)
        if abs(body.parameters(moved) - target) <= TOLERANCE * body.dense:
            offered.setdefault(moved, "seed" if record["seed"] else "search")
        if len(offered) == count:
            break
    controls = {name: control(body, target) for name, control in CONTROLS.items()}
    for name, architecture in controls.items():
        if abs(body.parameters(architecture) - target) <= TOLERANCE * body.dense:
            offered.setdefault(architecture, name)
    if offered:
        return offered
    name = min(controls, key=lambda name: abs(body.parameters(controls[name]) - target))
    return {controls[name]: name}


def onto(space: Space, architecture: Architecture, target: float) -> Architecture:
    """Return the architecture moved to `target` parameters.

    By its widths, or, where channels are chosen singly, by genes.
    """
    if not any(block.channels for block in architecture.blocks):
        return snap(space.body, architecture, target)
    genome = space.encode(architecture)
    moved = space.repair(genome[None], target / space.body.dense, np.random.default_rng(0))
    return space.decode(moved[0])


def slope(candidates: list[dict[str, Any]]) -> float:
    """Return how much fitness falls with a parameter over all candidates.

    Makes different sizes comparable.
    """
    if len(candidates) < 3:
        return 0.0
    sizes = np.array([record["parameters"] for record in candidates], dtype=float)
    losses = np.array([record["fitness"] for record in candidates])
    return float(max(0.0, -np.polyfit(sizes, losses, 1)[0])) if sizes.std() > 0 else 0.0
