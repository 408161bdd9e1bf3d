"""`harness doctor search`: what a candidate costs in a search, beside lm-eval on a copy of each."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from harness.command.run_words import OfSearch
from harness.command.verb import DONE, EXITS, FAILED
from harness.command.words import FORMAT_MEANS, Format, whole


class SearchCost(OfSearch):
    """Measure what a search's candidates cost beside lm-eval on a copy of each.

    The same candidates are scored both ways in turn: speed, answers, memory. Exit code 1 where an accuracy differs in
    float32; coarser numbers round near ties either way.
    """

    NAME: ClassVar[str] = "doctor search"
    EXITS: ClassVar[dict[int, str]] = EXITS | {FAILED: "an accuracy differs in float32"}
    candidates: whole() = Field(8, description="networks that are scored both ways")  # type: ignore[valid-type]
    rounds: whole() = Field(2, description="how often each is timed")  # type: ignore[valid-type]
    evaluations: whole() = Field(40, description="networks that the timed search may score")  # type: ignore[valid-type]
    format: Format = Field("table", description=FORMAT_MEANS)

    def __call__(self) -> int:
        from harness.command.searching import planned
        from harness.doctor.search_cost import compare_costs

        made, store = planned(self.run_words, [""])
        numbers = {name: getattr(self, name) for name in ("candidates", "rounds", "evaluations")}
        equal = compare_costs(made, store, **numbers, form=self.format)
        return FAILED if made.run.resolved_dtype == "float32" and not equal else DONE
