"""`harness doctor parity`: does our scorer answer what lm-eval's HFLM answers?

On every item of a suite.
"""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from harness.command.run_words import OfSome
from harness.command.verb import DONE, EXITS, FAILED
from harness.command.words import FORMAT_MEANS, Format, Names


class Parity(OfSome):
    """Compare our scorer with lm-eval's HFLM on every item of a suite.

    Exit code 1 where a prediction differs beyond near ties, or a log-likelihood by more than 1e-3. dtype is float32 where
    it is not given. Answers are kept under the store: an interrupted check goes on where it stopped.
    """

    NAME: ClassVar[str] = "doctor parity"
    KEYS: ClassVar[tuple[str, ...]] = ("suite", "model", "data_dir", "limit", "dtype", "device", "store")
    EXITS: ClassVar[dict[int, str]] = EXITS | {DONE: "all tasks answer alike", FAILED: "a task does not"}
    tasks: Names = Field((), description="tasks of the suite, a,b or [a,b]; all where empty")
    format: Format = Field("table", description=FORMAT_MEANS)

    def __call__(self) -> int:
        from harness.doctor.parity_table import print_parity
        from harness.doctor.subject import subject

        alike = print_parity(subject(["dtype=float32", *self.run_words], "parity", self.tasks), self.format)
        return DONE if alike else FAILED
