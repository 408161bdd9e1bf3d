"""What `run` and `plan` begin with.

The configuration and all it names, checked, and the plan made of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from harness import config, forecast, graph, timebox
from harness.command.report_folder import check_report
from harness.command.terminal import console
from harness.machine import caches
from harness.storage.store import Store


def checked(words: Sequence[str], *, settle: bool = False) -> tuple[graph.Plan, Store]:
    """Return the plan that the words ask for and its store; ValueError says what is not to be had.

    `settle`: what a run with `minutes` chose to measure is remembered, for the same words in this store.
    """
    with console().status("checking configuration, model and data"):
        caches.check()
        wanted = config.compose(list(words))
        check_report(wanted.report)
        store = Store(wanted.store)
        store.prepare()
        return (graph.build(wanted) if wanted.minutes is None else _in_time(wanted, store, settle)), store


def _in_time(asked: config.RunConfig, store: Store, settle: bool) -> graph.Plan:
    """Return the plan with as many items and rounds as its minutes allow, and a line that says so."""
    effort = timebox.settled(asked, store) or timebox.fitted(graph.build(asked), store)
    if settle:
        timebox.settle(asked, effort, store)
    made = graph.build(timebox.with_effort(asked, effort))
    made.notices.insert(0, timebox.told(asked, effort))
    return made


def notices(planned: graph.Plan, store: Store) -> Iterator[str]:
    """Yield what a user should know before the work."""
    yield from planned.notices
    if line := forecast.size_notice(planned, store):
        yield line
