"""What `run` and `plan` begin with: the configuration and all it names, checked, and the plan made of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from harness import config, estimates, plan
from harness.command.report_folder import check_report
from harness.command.terminal import console
from harness.machine import caches
from harness.storage.store import Store


def checked(words: Sequence[str]) -> tuple[plan.Plan, Store]:
    """Return the plan that the words ask for and its store; ValueError says what is not to be had."""
    with console().status("checking configuration, model and data"):
        caches.check()
        wanted = config.compose(list(words))
        check_report(wanted.report)
        store = Store(wanted.store)
        store.prepare()
        return plan.build(wanted), store


def notices(planned: plan.Plan, store: Store) -> Iterator[str]:
    """Yield what a user should know before the work."""
    yield from planned.notices
    if line := estimates.size_notice(planned, store):
        yield line
