"""A run that fits the minutes that its user gives.

As many items a task, and rounds of timing, as the time allows.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from harness import forecast
from harness.config import ConfigErrors, RunConfig
from harness.evaluation.evaluate import Evaluate
from harness.graph import Plan
from harness.measures.speed import Speed
from harness.spec import Step
from harness.storage.sealed import Damaged, read_sealed, write_sealed
from harness.storage.store import Store
from harness.words.durations import duration

LIMITS = (2000, 1000, 500, 250, 150, 100, 75, 50, 25, 10)  # items a task
ROUNDS = (5, 3)  # of timing, where those that were asked for leave too little for items
ENOUGH = 100  # items a task, before timing gets more rounds


class Effort(NamedTuple):
    """What a run spends on measuring."""

    limit: int | None
    rounds: int

    def applied(self, step: Step) -> Step:
        """Return the step as it is done with this effort."""
        if isinstance(step, Evaluate):
            return step.model_copy(update={"limit": self.limit})
        return step.model_copy(update={"rounds": self.rounds}) if isinstance(step, Speed) else step


def fitted(plan: Plan, store: Store) -> Effort:
    """Return the largest effort with which the run is estimated to take at most its `minutes`.

    The estimate is of the whole run, from nothing.

    More rounds of timing count for nothing before ENOUGH items do. ConfigErrors where even the least effort takes longer.
    """
    run = plan.run
    assert run.minutes is not None
    rate, parameters = forecast.machine_rate(run.resolved_dtype), forecast.model_parameters(plan, store)
    past = forecast.history(store)
    steps = [node.step for node in plan.steps()]
    taken = {
        effort: sum(forecast.seconds(effort.applied(step), parameters, rate, past) for step in steps)
        for effort in efforts(run)
    }
    fitting = [effort for effort, seconds in taken.items() if seconds <= 60 * run.minutes]
    if not fitting:
        least = min(taken, key=lambda effort: taken[effort])
        raise ConfigErrors(
            [
                f"minutes={run.minutes:g}: with {least.limit} items a task and {least.rounds} rounds of timing the run takes "
                f"about {duration(taken[least])}; give it more, or fewer methods, budgets or quantizers"
            ]
        )
    enough = [effort for effort in fitting if effort.limit is None or effort.limit >= ENOUGH]
    return enough[0] if enough else max(fitting, key=lambda effort: (effort.limit or 0, effort.rounds))


def efforts(run: RunConfig) -> Iterator[Effort]:
    """Yield efforts, those of more rounds first and of more items first among them.

    None beyond what the run asks for.
    """
    limits = [run.limit, *(limit for limit in LIMITS if run.limit is None or limit < run.limit)]
    for rounds in (run.measure.rounds, *(rounds for rounds in ROUNDS if rounds < run.measure.rounds)):
        for limit in limits:
            yield Effort(limit, rounds)


def with_effort(run: RunConfig, effort: Effort) -> RunConfig:
    """Return the run with the effort in the place of what it asked for at most."""
    measure = run.measure.model_copy(update={"rounds": effort.rounds})
    return run.model_copy(update={"limit": effort.limit, "measure": measure})


def settled(run: RunConfig, store: Store) -> Effort | None:
    """Return the effort that a run of the same words settled on before.

    Asked again, it finds its work done. None for a first.
    """
    try:
        content = read_sealed(_place(run, store))
        return Effort(content["limit"], content["rounds"])
    except (Damaged, KeyError):
        return None


def settle(run: RunConfig, effort: Effort, store: Store) -> None:
    """Remember the effort before the work begins, so that a run that is killed goes on with it."""
    path = _place(run, store)
    path.parent.mkdir(exist_ok=True)
    write_sealed(path, {"minutes": run.minutes, **effort._asdict()})


def told(run: RunConfig, effort: Effort) -> str:
    """Return the line that says what the minutes are spent on."""
    items = "all items of each task" if effort.limit is None else f"at most {effort.limit} items a task"
    return f"minutes={run.minutes:g}: {items}, {effort.rounds} rounds of timing"


def _place(run: RunConfig, store: Store) -> Path:
    asked = run.model_dump(mode="json", exclude={"store", "report", "keep", "redo"})
    digest = hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()
    return store.root / "timeboxes" / f"{digest[:40]}.json"
