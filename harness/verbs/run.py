"""`harness run` and `harness plan`: check, show what is to be done, do it, report it."""

from __future__ import annotations

import time

from rich.table import Table

from harness import config, estimates, plan
from harness.display import Live, duration
from harness.run import execute, record, relative, title
from harness.store import Store
from harness.verbs.report import show
from harness.verbs.terminal import console


def checked(words: list[str]) -> tuple[plan.Plan, Store]:
    """Return the plan that the words ask for and its store; ValueError says what is not to be had."""
    with console().status("checking configuration, model and data"):
        wanted = config.compose(words)
        store = Store(wanted.store)
        store.prepare()
        return plan.build(wanted), store


def run(words: list[str]) -> int:
    """Execute what is not stored; 1 when a step failed or was skipped."""
    started = time.time()
    planned, store = checked(words)
    estimates.check_disk(planned, store)
    terminal = console()
    for notice in planned.notices:
        terminal.print(f"note: {notice}", style="yellow", highlight=False)
    steps = len(planned.steps())
    terminal.print(f"{len(planned.variants)} variants, {steps} steps; store {relative(store.root)}", highlight=False)
    with Live(terminal) as watch:
        summary = execute(planned, store, watch)
    kept = record(planned, store, started, " ".join(["harness run", *words]), summary)
    store.save_run(kept)
    paths = show(kept, store, planned.run.report, terminal)
    terminal.print(
        f"{summary.stored} steps were stored, {len(summary.executed)} executed, {len(summary.failed)} failed, "
        f"{len(summary.skipped)} skipped in {duration(time.time() - started)}",
        highlight=False,
    )
    for key, reason in summary.failed.items():
        terminal.print(
            f"failed: {reason}\n  log: {relative(store.log(key))}", style="red", highlight=False, soft_wrap=True
        )
    terminal.print(f"report: {relative(paths['html'][0])}", highlight=False, soft_wrap=True)
    return 1 if summary.failed or summary.skipped else 0


def show_plan(words: list[str]) -> int:
    """Print every step with its state and estimate; nothing is executed."""
    planned, store = checked(words)
    rate, past, parameters = (
        estimates.machine_rate(planned.run.resolved_dtype),
        estimates.history(store),
        estimates.model_parameters(planned, store),
    )
    table = Table(
        "step",
        "key",
        "state",
        "estimate",
        title=f"suite {planned.run.suite}, model {planned.run.model}, {planned.run.resolved_dtype}",
    )
    left, undone = 0.0, []
    for node in planned.steps():
        stored = store.has(node.key)
        seconds = estimates.seconds(node, parameters, rate, past)
        if not stored:
            left += seconds
            undone.append(node)
        failure = store.failure(node.key)
        state = "stored" if stored else f"failed before: {failure['reason']}" if failure else "to do"
        table.add_row(title(node, planned), node.key[:12], state, "" if stored else duration(seconds))
    terminal = console()
    for notice in planned.notices:
        terminal.print(f"note: {notice}", style="yellow", highlight=False)
    terminal.print(table)
    written = estimates.disk(undone, planned, store)
    terminal.print(
        f"{len(planned.variants)} variants; about {duration(left)} of work left "
        f"(corrected by this store's past steps where there are any) and at most {estimates.storage(written)} to store",
        highlight=False,
    )
    return 0
