"""`harness report`: the tables and plots of a stored run, derived anew."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.verbs.terminal import console
from harness.verbs.words import one_of, options

if TYPE_CHECKING:
    from rich.console import Console

    from harness.store import Store


def report(words: list[str]) -> int:
    """Write the asked format of a run, the newest by default."""
    known = {"store": "harness-store", "report": "harness-report", "run": "", "format": "table", "paper": ""}
    asked = options(words, known)
    from harness.run import relative
    from harness.store import Store
    from reports import rows as reading
    from reports.write import FORMATS, write

    store = Store(Path(asked["store"]))
    if asked["paper"]:
        from harness.verbs.paper import paper_report

        return paper_report(asked["paper"], stored_run(store, asked["run"], asked["store"]), store, asked["format"])
    one_of(asked["format"], [*FORMATS, "table"], what="format")
    run = stored_run(store, asked["run"], asked["store"])
    if asked["format"] == "table":
        paths = show(run, store, Path(asked["report"]), console())
        print(f"report: {relative(paths['html'][0])}")
    else:
        for path in write(*reading.read(run, store), Path(asked["report"]), [asked["format"]])[asked["format"]]:
            print(relative(path))
    return 0


def stored_run(store: Store, name: str, place: str) -> dict[str, Any]:
    """Return the run called `name`, or the newest of the store written as `place`; ValueError where there is none."""
    from harness.data.layout import nearest

    runs = {run["id"]: run for run in store.runs()}
    if not runs:
        raise ValueError(f"store={place} holds no run; start with harness run suite=demo")
    if name and name not in runs:
        raise ValueError(f"run {name} is not in the store; {nearest(name, list(runs))}")
    return runs[name] if name else list(runs.values())[-1]


def show(run: dict[str, Any], store: Store, folder: Path, terminal: Console) -> dict[str, list[Path]]:
    """Print the run's table, write every format into `folder`, and return the files."""
    from reports import rows as reading
    from reports import tables
    from reports.write import write

    rows, facts = reading.read(run, store)
    terminal.print(tables.rich_table(rows, facts))
    return write(rows, facts, folder)
