"""One-shot NAS after LLaMA-NAS: train a super-network once, search it, pick at any budget, extract."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from harness.nas.fitness import Objective
from harness.nas.pick import Pick
from harness.nas.search import Search
from harness.nas.training import Supernet
from harness.spec import Method, Setup, Step


class NAS(Method):
    """Elastic depth and per-layer MLP width; super-network and search are shared by all budgets (arXiv 2405.18377)."""

    NAME = "nas"
    NEEDS: ClassVar[frozenset[str]] = frozenset({"calibration", "training"})
    FOLLOWS: ClassVar[bool] = False
    SOURCE: ClassVar[str] = "arXiv 2405.18377"
    budget: Annotated[float, Field(gt=0, le=1)]
    training_steps: Annotated[int, Field(ge=0)] = 120
    batch: Annotated[int, Field(gt=0)] = 4
    length: Annotated[int, Field(gt=1)] = 256
    learning_rate: Annotated[float, Field(gt=0)] = 3e-5
    order: Literal["ranked", "prefix"] = "ranked"
    evaluations: Annotated[int, Field(gt=0)] = 120
    search_items: Annotated[int, Field(gt=0)] = 32
    population: Annotated[int, Field(gt=3)] = 24
    objective: Objective = "choice_loss"
    finalists: Annotated[int, Field(gt=0)] = 6

    def stages(self, setup: Setup) -> tuple[Step, ...]:
        supernet = Supernet(
            calibration=setup.calibration,
            training=setup.training,
            steps=self.training_steps,
            batch=self.batch,
            length=self.length,
            learning_rate=self.learning_rate,
            order=self.order,
            seed=setup.seed,
        )
        search = Search(
            tasks=setup.search_tasks,
            report_tasks=setup.report_tasks,
            evaluations=self.evaluations,
            items=self.search_items,
            population=self.population,
            objective=self.objective,
            seed=setup.seed,
        )
        return supernet, search, Pick(budget=self.budget, search=search, finalists=self.finalists)
