"""`harness doctor scoring`: what our scorer costs against lm-eval's HFLM.

And against the least that is possible.
"""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from harness.command.run_words import OfSome
from harness.command.verb import DONE
from harness.command.words import FORMAT_MEANS, Format, Names, whole


class Scoring(OfSome):
    """Measure FLOPs, CPU time and memory of our scorer and of lm-eval's HFLM, and the least possible.

    Both are run in turn on the same items; nothing but scoring is timed.
    """

    NAME: ClassVar[str] = "doctor scoring"
    KEYS: ClassVar[tuple[str, ...]] = ("suite", "model", "data_dir", "limit", "dtype", "device", "store")
    tasks: Names = Field((), description="tasks of the suite, a,b or [a,b]; all where empty")
    rounds: whole(1, 1000) = Field(2, description="how often each is timed")  # type: ignore[valid-type]
    format: Format = Field("table", description=FORMAT_MEANS)

    def __call__(self) -> int:
        from harness.doctor.scoring_table import print_scoring
        from harness.doctor.subject import subject

        print_scoring(subject(self.run_words, "scoring", self.tasks), self.rounds, self.format)
        return DONE
