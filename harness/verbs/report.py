"""`harness report`: the tables and plots of a stored run, derived anew."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from harness.command.report_folder import check_report
from harness.command.verb import DONE, Verb
from harness.command.words import RUN_MEANS, STORE, STORE_MEANS

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console

    from harness.storage.store import Store


class Report(Verb):
    """Rewrite the tables and plots of a run from the store; nothing is measured.

    With paper=NAME: a published table beside the run's rows, which harness run paper=NAME measures.
    """

    NAME: ClassVar[str] = "report"
    store: str = Field(STORE, description=STORE_MEANS)
    report: str = Field("harness-report", description="folder that the files are written into")
    run: str = Field("", description=RUN_MEANS)
    format: str = Field(
        "table",
        description="csv, html, json, markdown, parquet, plot; table: print it, write all. With paper=: table, markdown, latex, json",
    )
    paper: str = Field("", description="a published table, or a YAML file of your own")

    def __call__(self) -> int:
        from harness.command.stored import readable, stored_run
        from harness.command.terminal import console
        from harness.words.home import home, relative
        from harness.words.nearest import one_of
        from reports.run import rows as reading
        from reports.written.folder import formats, write

        if not self.paper:
            one_of(self.format, [*formats(), "table"], what="format")
        store = readable(self.store)
        if self.paper:
            from harness.command.paper import paper_report

            return paper_report(self.paper, stored_run(store, self.run, self.store), store, self.format)
        folder = home(self.report)
        check_report(folder)
        run = stored_run(store, self.run, self.store)
        if self.format == "table":
            paths = show(run, store, folder, console())
            print(f"report: {relative(paths['html'][0])}")
        else:
            for path in write(*reading.read(run, store), folder, [self.format])[self.format]:
                print(relative(path))
        return DONE


def show(run: dict[str, Any], store: Store, folder: Path, terminal: Console) -> dict[str, list[Path]]:
    """Print the run's table, write every format into `folder`, and return the files."""
    from reports.run import rows as reading
    from reports.run import tables
    from reports.written.folder import write

    rows, facts = reading.read(run, store)
    terminal.print(tables.rich_table(rows, facts))
    return write(rows, facts, folder)
