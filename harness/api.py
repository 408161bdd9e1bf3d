"""Runs for notebooks and scripts.

Open what is stored as tables, or make a run with the words of the command line.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.command.stored import stored_run
from harness.storage.store import Store
from reports.run import arrow, rows

if TYPE_CHECKING:
    import pandas
    import pyarrow


@dataclass(frozen=True)
class Run:
    """A run of a store.

    `record` is what is kept of it, `rows` a mapping for each variant, `facts` what holds for all of them.
    """

    store: Store
    record: dict[str, Any]
    rows: list[dict[str, Any]]
    facts: dict[str, Any]

    @classmethod
    def open(cls, store: str | Path = "harness-store", run: str = "") -> Run:
        """Return the run called `run`, or the newest of the store; ValueError where there is none.

        Computes nothing.
        """
        opened = Store(Path(store)).opened()
        record = stored_run(opened, run, str(store))
        return cls(opened, record, *rows.read(record, opened))

    @property
    def variants(self) -> list[str]:
        """The names of the rows, dense first."""
        return [row["variant"] for row in self.rows]

    @property
    def failed(self) -> dict[str, str]:
        """Why each variant that has no numbers has none, by name."""
        return {row["variant"]: str(row["reason"]) for row in self.rows if row["status"] != "ok"}

    def table(self) -> pyarrow.Table:
        """Return the rows as a pyarrow table: the columns of report.csv, null where nothing was measured."""
        return arrow.table(self.rows)

    def frame(self) -> pandas.DataFrame:
        """Return the rows as a pandas data frame; ImportError where pandas is not installed."""
        return self.table().to_pandas()

    def items(self, variant: str, task: str = "") -> pyarrow.Table:
        """Return a row for each item that a variant answered, of one task or of all, its bytes checked.

        ValueError where the run has no such variant or task, or did not score it.
        """
        import pyarrow.compute as pc
        import pyarrow.parquet as pq

        measures = {each["name"]: each["measures"] for each in self.record["variants"]}
        if variant not in measures:
            raise ValueError(f"variant {variant} is not in the run; it has {', '.join(measures)}")
        path = self.store.file(measures[variant]["evaluate"], "items.parquet") if variant not in self.failed else None
        if path is None:
            raise ValueError(f"variant {variant} was not scored: {self.failed.get(variant, 'no items are stored')}")
        table = pq.read_table(path)
        if not task:
            return table
        tasks = pc.unique(table["task"]).to_pylist()
        if task not in tasks:
            raise ValueError(f"task {task} is not among {', '.join(tasks)}")
        return table.filter(pc.equal(table["task"], task))


def execute(*words: str, store: str | Path = "harness-store") -> Run:
    """Make the run that `words` (key=value, as behind `harness run`) ask for and return it.

    What is stored is not done again.

    ValueError says what is wrong with the words. A step that fails does not raise: its variant is among `failed`. No report is written.
    """
    from harness import forecast
    from harness.command.planning import checked
    from harness.execution import Watch, record
    from harness.execution import execute as carry_out

    asked = [*words, f"store={store}"]
    started = time.time()
    planned, target = checked(asked, settle=True)
    forecast.check_disk(planned, target)
    summary = carry_out(planned, target, Watch())
    made = record(planned, target, started, " ".join(["harness run", *asked]), summary)
    target.save_run(made)
    return Run(target, made, *rows.read(made, target))
