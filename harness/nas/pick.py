"""The step that takes a network of the asked size from a finished search and cuts it out."""

from __future__ import annotations

import json

from harness.nas.search import Search, prepare
from harness.nas.space import CHOICES, Architecture, Space, middle_layers
from harness.pruning.budget import check_reached
from harness.spec import Cost, Step, Work

WINDOW = 0.08  # share of the dense parameters around the budget from which finalists come


class Pick(Step):
    """Bring the best candidates near the budget to it exactly, with the `uniform` and `middle` controls, score them on the
    search split, extract the winner. One search serves any number of budgets."""

    KIND = "pick"
    VERSION = 2
    budget: float
    search: Search
    finalists: int = 6

    def title(self) -> str:
        return f"pick at {self.budget}"

    def cost(self) -> Cost:
        return Cost(
            forward_tokens=self.search.cost().forward_tokens / self.search.evaluations * (self.finalists + 2),
            seconds=10,
        )

    def run(self, work: Work) -> None:
        from harness import progress
        from harness.compress import store_model
        from harness.nas.supernet import Elastic, extracted

        records = json.loads((work.parent() / "records.json").read_text())
        model, space, items = prepare(work, self.search)
        target = self.budget * space.dense
        seen = {tuple(record["architecture"]): record for record in records}
        candidates = self.finalist_architectures(space, seen, target)
        with Elastic(model) as elastic:
            found = items.score(elastic, candidates, self.search.objective)
            scored = [
                {"architecture": list(architecture), "parameters": space.parameters(architecture), **facts}
                for architecture, facts in progress.track(found, "finalists", total=len(candidates))
            ]
        best = min(scored, key=lambda record: record["fitness"])
        check_reached(best["parameters"], space.dense, self.budget, "nas")
        (work.draft / "finalists.json").write_text(json.dumps(scored))
        store_model(
            work,
            extracted(model, tuple(best["architecture"])),
            search_fitness=best["fitness"],
            search_accuracy=best["accuracy"],
            architecture=best["architecture"],
        )

    def finalist_architectures(
        self, space: Space, found: dict[Architecture, dict], target: float
    ) -> list[Architecture]:
        """Return distinct architectures of `target` parameters: the best near it, moved onto it, and both controls."""
        near = [key for key, record in found.items() if abs(record["parameters"] - target) <= WINDOW * space.dense]
        ranked = sorted(
            near, key=lambda key: found[key]["fitness"] + slope(found) * (found[key]["parameters"] - target)
        )
        edge = middle_layers(len(space.shapes))
        half = space.shapes[0].width * CHOICES[len(CHOICES) // 2] // CHOICES[-1]
        uniform = tuple(half for _ in space.shapes)
        snapped = [space.snap(key, target) for key in ranked[: self.finalists]]
        controls = [space.snap(uniform, target), snap_middle(space, edge, target)]
        fitting = [
            key
            for key in dict.fromkeys([*snapped, *controls])
            if abs(space.parameters(key) - target) <= 0.005 * space.dense
        ]
        return fitting or [min([*snapped, *controls], key=lambda key: abs(space.parameters(key) - target))]


def slope(found: dict[Architecture, dict]) -> float:
    """Return how much fitness falls with a parameter over all candidates: makes different sizes comparable."""
    import numpy as np

    if len(found) < 3:
        return 0.0
    sizes = np.array([record["parameters"] for record in found.values()], dtype=float)
    losses = np.array([record["fitness"] for record in found.values()])
    return float(max(0.0, -np.polyfit(sizes, losses, 1)[0])) if sizes.std() > 0 else 0.0


def snap_middle(space: Space, middle: range, target: float) -> Architecture:
    """Return the `middle` control at `target` parameters: one width for the middle layers, the others whole."""
    from harness.pruning.budget import bisect

    def shrunk(ratio: float) -> Architecture:
        return tuple(
            max(space.unit(index), round(shape.width * (1 - ratio) / space.unit(index)) * space.unit(index))
            if index in middle
            else shape.width
            for index, shape in enumerate(space.shapes)
        )

    best = shrunk(bisect(lambda ratio: space.parameters(shrunk(ratio)), target))
    unit = [space.unit(index) * space.shapes[index].channel_parameters for index in middle]
    surplus = space.parameters(best) - target
    for position, index in enumerate(
        middle
    ):  # one unit less or more in the first middle layers meets the budget exactly
        step = -1 if surplus > unit[position] / 2 else 1 if surplus < -unit[position] / 2 else 0
        width = best[index] + step * space.unit(index)
        if step and 0 < width <= space.shapes[index].width:
            best = (*best[:index], width, *best[index + 1 :])
            surplus += step * unit[position]
    return best
