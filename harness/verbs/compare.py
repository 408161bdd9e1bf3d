"""`harness compare`: variants of a stored run against the first named, item by item."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from harness.command.verb import DONE, Verb
from harness.command.words import FORMAT_MEANS, RUN_MEANS, STORE, STORE_MEANS, Format, Names, Number, whole


class Compare(Verb):
    """Compare variants of a stored run item by item.

    The first named is the reference; differences are variant minus reference, with intervals, exact tests, and examples of
    items that one answers and the other does not. Example: harness compare dense nas@0.75
    """

    NAME: ClassVar[str] = "compare"
    NAMES: ClassVar[str] = "REFERENCE VARIANT [VARIANT ...]"
    store: str = Field(STORE, description=STORE_MEANS)
    run: str = Field("", description=RUN_MEANS)
    task: Names = Field((), description="tasks, a,b or [a,b]; all where empty")
    metric: str = Field("", description="a metric of the tasks, for example acc_norm; what tables show where empty")
    flips: whole(0) = Field(5, description="examples of items that changed")  # type: ignore[valid-type]
    format: Format = Field("table", description=FORMAT_MEANS)
    level: Number = Field(0.95, description="of the intervals")

    def __call__(self) -> int:
        from harness.command.stored import readable
        from harness.command.terminal import console
        from reports.compare import pairs
        from reports.compare.comparison_text import markdown_report, rich_report
        from reports.compare.program import json_report
        from reports.compare.sides import sides

        named = sides(list(self.names), readable(self.store), self.run)
        report = pairs.compare(named, tasks=self.task, metric=self.metric, level=self.level)
        if self.format == "table":
            console().print(rich_report(report, examples=self.flips))
        else:
            text = json_report if self.format == "json" else markdown_report
            print(text(report, examples=self.flips), end="")
        return DONE
