"""`harness ls`: what a store holds."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from harness.command.verb import DONE, Verb
from harness.command.words import STORE, STORE_MEANS

if TYPE_CHECKING:
    from harness.storage.store import Store


class Ls(Verb):
    """List the runs, the variants of the newest, and the complete steps of a store."""

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
        variants = Table("variant", "weights", title="variants of the newest run")
        for variant in store.runs()[-1]["variants"] if store.runs() else ():
            variants.add_row(variant["name"], _weights(variant["chain"][-1], store))
        steps = Table("key", "step", "MB", "seconds", title="steps")
        for key in store.keys():
            record = store.record(key)
            size = f"{folder_bytes(store.folder(key)) / 1e6:.1f}"
            steps.add_row(key[:12], record["title"], size, f"{record['cost']['seconds']:.1f}")
        console().print(runs, variants, steps)
        return DONE


def _weights(key: str, store: Store) -> str:
    """Return where a step's weights lie, or why they do not."""
    from harness.spec import ARTIFACT, CHECKPOINT
    from harness.words.home import relative

    if not store.has(key):
        return "not made"
    if store.released(key):
        return "let go once measured"
    return next(
        (str(relative(place)) for name in (ARTIFACT, CHECKPOINT) if (place := store.folder(key) / name).is_dir()), ""
    )
