"""One-shot NAS after LLaMA-NAS: train a super-network once, search it, pick at any budget, extract."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field, field_validator

from harness.nas.pick import Pick
from harness.nas.search_step import Search
from harness.nas.searchers.all_searchers import searcher
from harness.nas.settings import SearchSettings, TrainingSettings
from harness.nas.space import CostKind
from harness.nas.spaces import axes
from harness.nas.training import Supernet
from harness.spec import BUDGET, CalibrationSpec, Method, Setup, Step

WINDOW = 256  # tokens of text that are read together


class NAS(TrainingSettings, SearchSettings, Method):
    """Elastic depth, attention and MLP widths.

    super-network and search are shared by all budgets (arXiv 2405.18377).

    `space`, `searcher`, `strategy`, `objective` and `cost` choose among all that `harness.nas` has; `options` go to the
    searcher. `training_tokens=0` searches the model as it is, its parts ranked by importance.
    """

    NAME = "nas"
    VERSION: ClassVar[int] = 2
    NEEDS: ClassVar[frozenset[str]] = frozenset({"calibration", "training"})
    FOLLOWS: ClassVar[bool] = False
    SOURCE: ClassVar[str] = "arXiv 2405.18377"
    budget: float = BUDGET
    training_tokens: int = Field(
        122_880,
        ge=0,
        description="tokens of instruction data that the super-network trains on; 0 searches the model as it is",
    )
    search_items: int = Field(32, gt=0, description="items of each search task")
    search_tokens: int = Field(
        4096, ge=512, description="tokens of instruction text for kl and perplexity; as many are held out"
    )
    cost: CostKind = Field(
        "parameters", description="what is traded for the objective; bytes are those of int8, latency is measured"
    )
    finalists: int = Field(
        6, gt=0, description="candidates near the budget that are judged on items the search never saw"
    )

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
            **self.part(TrainingSettings),
        )
        search = Search(
            tasks=setup.search_tasks,
            report_tasks=setup.report_tasks,
            text=self.text(setup),
            items=self.search_items,
            cost_kind=self.cost,
            seed=setup.seed,
            **self.part(SearchSettings),
        )
        return supernet, search, Pick(budget=self.budget, search=search, finalists=self.finalists)

    def text(self, setup: Setup) -> CalibrationSpec:
        """Return what objectives over text are computed on.

        Instruction data, nearer to tasks than calibration text is.
        """
        samples = 2 * (self.search_tokens // WINDOW)
        return CalibrationSpec(source=setup.training, samples=samples, length=WINDOW, seed=setup.seed)
