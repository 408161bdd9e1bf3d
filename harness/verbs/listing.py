"""`harness ls` and `harness methods`: what a store holds, and what can be run."""

from __future__ import annotations

from pathlib import Path

from rich.table import Table

from harness.outside.sparse_recipes import shipped
from harness.spec import Method
from harness.verbs.terminal import console
from harness.verbs.words import options


def ls(words: list[str]) -> int:
    """List the runs and the complete steps of a store."""
    asked = options(words, {"store": "harness-store"})
    from harness.measures.speed import folder_bytes
    from harness.store import Store

    store = Store(Path(asked["store"]))
    runs = Table("run", "command", "variants", title="runs")
    for run in store.runs():
        runs.add_row(run["id"], run["command"], str(len(run["variants"])))
    steps = Table("key", "step", "MB", "seconds", title="steps")
    for key in store.keys():
        record = store.record(key)
        steps.add_row(
            key[:12],
            record["title"],
            f"{folder_bytes(store.folder(key)) / 1e6:.1f}",
            f"{record['cost']['seconds']:.1f}",
        )
    console().print(runs, steps)
    return 0


def _removes(kind: type[Method]) -> str:
    if kind.FILE:
        return "as its file says"
    if not kind.STRUCTURED:
        return "zeros"
    return "parameters" if "budget" in kind.model_fields else "nothing"


def methods(words: list[str]) -> int:
    """List methods with their fields, and quantizers."""
    options(words, {})
    from harness import registry

    terminal = console()
    table = Table("method", "removes", "needs", "source", "fields", title="methods")
    for name, kind in sorted(registry.methods().items()):
        fields = ", ".join(
            f"{field}={'?' if info.is_required() else info.get_default(call_default_factory=True)}"
            for field, info in registry.fields(kind).items()
        )
        table.add_row(
            name,
            _removes(kind),
            ", ".join(sorted(kind.NEEDS)),
            kind.SOURCE,
            fields,
        )
    terminal.print(table)
    terminal.print(f"shipped recipes: {', '.join(f'sparseml:{name}' for name in shipped())}", highlight=False)
    terminal.print(
        "quantizers: none, "
        + ", ".join(f"{name} ({(kind.__doc__ or '').splitlines()[0]})" for name, kind in registry.quantizers().items()),
        highlight=False,
    )
    return 0
