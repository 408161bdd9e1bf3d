"""`harness plan`: what a run would do."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from harness.command.run_words import OfRun
from harness.command.verb import DONE, EXITS
from harness.words.durations import duration
from harness.words.reasons import one_line
from harness.words.sizes import storage

if TYPE_CHECKING:
    from harness.spec import Node
    from harness.storage.store import Store


class ShowPlan(OfRun):
    """Show the steps of a run, what is stored already, and how long the rest takes; nothing is executed."""

    NAME: ClassVar[str] = "plan"
    EXITS: ClassVar[dict[int, str]] = EXITS

    def __call__(self) -> int:
        from rich.cells import cell_len
        from rich.text import Text

        from harness import forecast, weights
        from harness.command.planning import checked, notices
        from harness.command.terminal import console
        from harness.storage import provenance

        planned, store = checked(self.run_words)
        nodes = planned.steps()
        todo = weights.undone(nodes, store)
        states = {node.key: (node, *_state(node, store, todo)) for node in nodes}
        undone = [node for node, _, changes in states.values() if changes is None]
        outdated = [changes for _, _, changes in states.values() if changes]
        seconds = forecast.all_seconds(undone, planned, store)
        titles = planned.titles()
        width, lines = max(map(cell_len, titles.values())), []
        for node, state, _ in states.values():
            name, left = titles[node.key], duration(seconds[node.key]) if node.key in seconds else ""
            lines.append(f"{name}{' ' * (width - cell_len(name))}  {node.key[:12]}  {left:>12}  {one_line(state)}")
        terminal = console()
        for notice in notices(planned, store):
            terminal.print(f"note: {notice}", style="yellow", soft_wrap=True)
        terminal.print(
            f"suite {planned.run.suite}, model {planned.run.model}, {planned.run.resolved_dtype}", style="bold"
        )
        terminal.print(f"{'step':<{width}}  {'key':<12}  {'estimate':>12}  state", style="bold", soft_wrap=True)
        terminal.print(
            Text("\n".join(lines)), soft_wrap=True
        )  # one text: thousands of table cells take seconds to lay out
        written = forecast.disk(undone, planned, store)
        terminal.print(
            f"{len(planned.variants)} variants; about {duration(sum(seconds.values()))} of work left "
            f"(corrected by this store's past steps where there are any) and at most {storage(written)} to store",
        )
        if line := provenance.sentence(outdated, len(states) - len(undone)):
            terminal.print(f"note: {line}", style="yellow", soft_wrap=True)
        return DONE


def _state(node: Node, store: Store, todo: set[str]) -> tuple[str, list[str] | None]:
    """Return how a step stands, and what made it that is another now.

    None for a step that is still to be done.
    """
    from harness.storage import provenance

    if store.has(node.key):
        if node.key in todo:
            return "its weights were let go, and are needed again", None
        changes = provenance.differences(store.record(node.key))
        gone = ", weights let go" if store.released(node.key) else ""
        return f"stored{gone}{', by other code' if changes else ''}", changes
    failure = store.failure(node.key)
    return f"failed before: {failure['reason']}" if failure else "to do", None
