"""`harness doctor`: check this installation and machine."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from pydantic import Field

from harness.command.verb import DONE, EXITS, FAILED, Verb
from harness.command.words import STORE, STORE_MEANS


class Doctor(Verb):
    """Check this installation and machine, and every byte of a store."""

    NAME: ClassVar[str] = "doctor"
    EXITS: ClassVar[dict[int, str]] = EXITS | {DONE: "all is in order", FAILED: "something is not"}
    store: str = Field(STORE, description=STORE_MEANS)

    def __call__(self) -> int:
        from harness.command.terminal import console
        from harness.doctor.installation import run

        return run(Path(self.store), console())
