"""`harness ls`: what a store holds."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from harness.command.verb import DONE, Verb
from harness.command.words import STORE, STORE_MEANS


class Ls(Verb):
    """List the runs and the complete steps of a store."""

    NAME: ClassVar[str] = "ls"
    store: str = Field(STORE, description=STORE_MEANS)

    def __call__(self) -> int:
        from rich.table import Table

        from harness.command.stored import readable
        from harness.command.terminal import console
        from harness.storage.store import folder_bytes

        store = readable(self.store)
        runs = Table("run", "command", "variants", title="runs")
        for run in store.runs():
            runs.add_row(run["id"], run["command"], str(len(run["variants"])))
        steps = Table("key", "step", "MB", "seconds", title="steps")
        for key in store.keys():
            record = store.record(key)
            size = f"{folder_bytes(store.folder(key)) / 1e6:.1f}"
            steps.add_row(key[:12], record["title"], size, f"{record['cost']['seconds']:.1f}")
        console().print(runs, steps)
        return DONE
