"""`harness tidy`: disk back from a store that has done its work."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from harness.command.verb import DONE, Verb
from harness.command.words import STORE, STORE_MEANS, Flag


class Tidy(Verb):
    """Delete the weights of measured variants, and what was set aside as damaged.

    Reports, compare and gate go on.

    The dense model and super-networks stay, as many variants are made from them; so do variants of which a measure is
    missing. A run that needs weights again makes them as they were.

    Example: harness tidy store=harness-store show=true
    """

    NAME: ClassVar[str] = "tidy"
    store: str = Field(STORE, description=STORE_MEANS)
    show: Flag = Field(False, description="true only says what would go")

    def __call__(self) -> int:
        from harness.command.stored import readable
        from harness.command.terminal import console
        from harness.storage import leavings
        from harness.words.sizes import storage

        store = readable(self.store)
        keys = leavings.measured(store)
        bytes_ = leavings.weights(store, keys) + leavings.aside(store)
        if not self.show:
            bytes_ = sum(map(store.release, keys)) + leavings.remove_aside(store)
        did = "would go" if self.show else "went"
        console().print(
            f"{storage(bytes_)} {did}: weights of {len(keys)} steps, and what was set aside", highlight=False
        )
        return DONE
