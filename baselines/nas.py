"""One-shot NAS after LLaMA-NAS: train a super-network once, search it, pick at any budget, extract."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, field_validator

from harness.nas.pick import Pick
from harness.nas.search import Search
from harness.nas.searchers.catalogue import searcher
from harness.nas.space import CostKind
from harness.nas.spaces import axes
from harness.nas.strategies import Strategy, Teacher
from harness.nas.tally import Objective
from harness.nas.training import Supernet
from harness.recovery.kinds import Trained
from harness.spec import CalibrationSpec, Method, Setup, Step

WINDOW = 256  # tokens of text that are read together


class NAS(Method):
    """Elastic depth, attention and MLP widths; super-network and search are shared by all budgets (arXiv 2405.18377).

    `space`, `searcher`, `strategy`, `objective` and `cost` choose among all that `harness.nas` has; `options` go to the
    searcher. `training_tokens=0` searches the model as it is, its parts ranked by importance.
    """

    NAME = "nas"
    VERSION: ClassVar[int] = 2
    NEEDS: ClassVar[frozenset[str]] = frozenset({"calibration", "training"})
    FOLLOWS: ClassVar[bool] = False
    SOURCE: ClassVar[str] = "arXiv 2405.18377"
    budget: Annotated[float, Field(gt=0, le=1)]
    space: str = "fine"
    lowest: Annotated[float, Field(ge=0, lt=1)] = 0.6
    order: Literal["ranked", "prefix"] = "ranked"
    strategy: Strategy = "alternate"
    training_tokens: Annotated[int, Field(ge=0)] = 122_880
    batch: Annotated[int, Field(gt=0)] = 4
    length: Annotated[int, Field(gt=1)] = 256
    learning_rate: Annotated[float, Field(gt=0)] = 3e-5
    distill: Annotated[float, Field(ge=0, le=1)] = 0.7
    teacher: Teacher = "inplace"
    adapter: Trained = "full"
    searcher: str = "evolution"
    options: dict[str, Any] = Field(default_factory=dict)
    evaluations: Annotated[int, Field(gt=0)] = 120
    search_items: Annotated[int, Field(gt=0)] = 32
    objective: Objective = "kl"
    search_tokens: Annotated[int, Field(ge=512)] = (
        4096  # of training text, for objectives over text; as many are held out
    )
    cost: CostKind = "parameters"
    staged: bool = False
    only: tuple[str, ...] = ()
    search_seed: int = 0
    finalists: Annotated[int, Field(gt=0)] = 6

    @field_validator("space")
    @classmethod
    def _space_is_known(cls, value: str) -> str:
        axes(value)
        return value

    @field_validator("searcher")
    @classmethod
    def _searcher_is_known(cls, value: str) -> str:
        searcher(value, {})
        return value

    def stages(self, setup: Setup) -> tuple[Step, ...]:
        searcher(self.searcher, self.options)  # a wrong setting is told before anything runs
        supernet = Supernet(
            calibration=setup.calibration,
            training=setup.training,
            tokens=self.training_tokens,
            seed=setup.seed,
            **{
                name: getattr(self, name)
                for name in (
                    "space",
                    "lowest",
                    "order",
                    "strategy",
                    "batch",
                    "length",
                    "learning_rate",
                    "distill",
                    "teacher",
                    "adapter",
                )
            },
        )
        search = Search(
            tasks=setup.search_tasks,
            report_tasks=setup.report_tasks,
            text=self.text(setup),
            items=self.search_items,
            cost_kind=self.cost,
            seed=setup.seed,
            **{
                name: getattr(self, name)
                for name in (
                    "space",
                    "lowest",
                    "searcher",
                    "options",
                    "evaluations",
                    "objective",
                    "staged",
                    "only",
                    "search_seed",
                )
            },
        )
        return supernet, search, Pick(budget=self.budget, search=search, finalists=self.finalists)

    def text(self, setup: Setup) -> CalibrationSpec:
        """Return what objectives over text are computed on: instruction data, nearer to tasks than calibration text is."""
        samples = 2 * (self.search_tokens // WINDOW)
        return CalibrationSpec(source=setup.training, samples=samples, length=WINDOW, seed=setup.seed)
