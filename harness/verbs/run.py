"""`harness run`: check, do what is not stored, report."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from harness.command.run_words import OfRun
from harness.command.verb import DONE, FAILED
from harness.words.durations import duration
from harness.words.sizes import storage

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console

    from harness.storage.store import Store


class Run(OfRun):
    """Compare compression methods on a suite.

    Execute what is not stored, print the table, write the report.

    Example: harness run suite=demo
    """

    NAME: ClassVar[str] = "run"

    def __call__(self) -> int:
        import time

        from harness import forecast
        from harness.command.planning import checked, notices
        from harness.command.terminal import console
        from harness.display import Live
        from harness.execution import execute, record
        from harness.words.home import relative

        started = time.time()
        planned, store = checked(self.run_words, settle=True)
        forecast.check_disk(planned, store)
        terminal = console()
        for notice in notices(planned, store):
            terminal.print(f"note: {notice}", style="yellow", soft_wrap=True)
        steps = len(planned.steps())
        terminal.print(f"{len(planned.variants)} variants, {steps} steps; store {relative(store.root)}", soft_wrap=True)
        with Live(terminal) as watch:
            summary = execute(planned, store, watch)
        run_record = record(planned, store, started, " ".join(["harness run", *self.run_words]), summary)
        unwritten = _saved(run_record, store, planned.run.report, terminal)
        waited = f"{summary.meanwhile} stored by another run, " if summary.meanwhile else ""
        terminal.print(
            f"{summary.stored} steps were stored, {waited}{len(summary.executed)} executed, {len(summary.failed)} failed, "
            f"{len(summary.skipped)} skipped in {duration(time.time() - started)}",
        )
        if summary.freed:
            said = f"{storage(summary.freed)} of weights let go; keep=weights keeps those of every variant"
            terminal.print(said, soft_wrap=True)
        for key, why in summary.failed.items():
            terminal.print(f"failed: {why}\n  log: {relative(store.log(key))}", style="red", soft_wrap=True)
        for line in unwritten:
            terminal.print(line, style="red", soft_wrap=True)
        if not unwritten:
            terminal.print(f"report: {relative(planned.run.report / 'report.html')}", soft_wrap=True)
        return FAILED if summary.failed or summary.skipped or unwritten else DONE


def _saved(run: dict[str, Any], store: Store, folder: Path, terminal: Console) -> list[str]:
    """Keep the run's record and write its report.

    Return a line for each that a full disk, say, did not take.

    The table is printed first: what was measured is seen even where nothing can be written any more.
    """
    from harness.words.reasons import reason
    from reports.run import rows as reading
    from reports.run import tables
    from reports.written.folder import write as write_report

    rows, facts = reading.read(run, store)
    terminal.print(tables.rich_table(rows, facts))
    lines = []
    for what, write in (
        ("the run's record", lambda: store.save_run(run)),
        (f"report={folder}", lambda: write_report(rows, facts, folder)),
    ):
        try:
            write()
        except OSError as error:
            lines.append(f"{what} could not be written: {reason(error)}; the same command again writes what is missing")
    return lines
