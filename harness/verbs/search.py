"""`harness search`: which searcher finds the better sub-networks of one super-network.

Each searcher is run with several seeds.
"""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from harness.command.run_words import OfSearch
from harness.command.verb import DONE, FAILED
from harness.command.words import FORMAT_MEANS, Format, Names, whole


class CompareSearchers(OfSearch):
    """Compare searchers on one super-network, every one with several seeds.

    Prints hypervolumes, fitness at sizes, the predictor's rank correlation and seconds, with intervals over seeds.
    """

    NAME: ClassVar[str] = "search"
    searchers: Names = Field(("linas", "evolution", "nsga2", "random"), description="whom to compare")
    seeds: whole(1, 1000) = Field(3, description="searches of each, seeds 0, 1, ...")  # type: ignore[valid-type]
    evaluations: whole() = Field(250, description="networks that a search may score")  # type: ignore[valid-type]
    format: Format = Field("table", description=FORMAT_MEANS)

    def __call__(self) -> int:
        from harness.command.searchers import rows, show, stored, title
        from harness.command.searching import planned
        from harness.command.terminal import console
        from harness.display import Live
        from harness.execution import execute
        from harness.words.home import relative

        names = list(dict.fromkeys(self.searchers))
        if not names:
            raise ValueError("searchers= names none")
        limit = f"evaluations={self.evaluations}"
        asked = [f"searcher={name},{limit},search_seed={seed}" for name in names for seed in range(self.seeds)]
        made, store = planned(self.run_words, asked)
        out = console() if self.format == "table" else console(stderr=True)
        for notice in made.notices:
            out.print(f"note: {notice}", style="yellow", highlight=False)
        with Live(out) as watch:
            summary = execute(made, store, watch)
        if searches := stored(made, store):
            show(rows(searches, self.evaluations), self.format, title=title(made, searches[0]))
        for key, reason in summary.failed.items():
            out.print(
                f"failed: {reason}\n  log: {relative(store.log(key))}", style="red", highlight=False, soft_wrap=True
            )
        return FAILED if summary.failed or summary.skipped else DONE
