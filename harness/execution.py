"""Execute a plan: skip what is stored, and run the rest one fresh process at a time.

After a failure the run goes on.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import psutil

from harness import forecast, weights
from harness.executors.local import Outcome, run_steps
from harness.graph import Plan
from harness.machine.environment import environment
from harness.measures.speed import Speed, sessions
from harness.spec import ARTIFACT, CHECKPOINT, Node
from harness.storage.provenance import differences
from harness.storage.store import Store, folder_bytes
from harness.words.redaction import redacted


@dataclass
class Summary:
    """What a run did: how many steps were stored already, executed, failed, or skipped.

    A step is skipped because of a failure before it.
    """

    stored: int = 0
    meanwhile: int = 0  # that another run stored while this one waited for them
    executed: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    freed: int = 0  # bytes of weights that were let go


@dataclass
class Watch:
    """What the display is told; the default shows nothing."""

    started: Callable[[str, int, int, float], None] = lambda title, done, total, left: None
    progress: Callable[[float, str], None] = lambda fraction, text: None
    notice: Callable[[str], None] = lambda text: None
    finished: Callable[[str, Outcome, int, int, float], None] = lambda title, outcome, done, total, left: None


def execute(plan: Plan, store: Store, watch: Watch) -> Summary:
    """Run every step that is not stored, in order.

    Descendants of a failed step are skipped with its reason.
    """
    summary, started = Summary(), time.monotonic()
    nodes, titles = plan.steps(), plan.titles()
    for damaged in store.set_damaged_runs_aside():
        watch.notice(f"set aside: {damaged}")
    redone = _asked_again(nodes, store, plan.run.redo)
    undone = {node.key for node in nodes if node.key in redone or not _sound(node, store, watch)}
    undone |= weights.again(nodes, undone, store)
    pending = [node for node in nodes if node.key in undone]
    summary.stored = len(nodes) - len(pending)
    for key in redone:
        if store.folder(key).exists():
            store.set_aside(key)
    expected = forecast.all_seconds(pending, plan, store)
    total, spent, planned = len(pending), 1.0, 1.0
    by_key = {node.key: node for node in nodes}
    mended: set[str] = set()
    while pending:
        group = _next_group(pending, store, summary)
        if not group:
            continue
        name = titles[group[0].key] if len(group) == 1 else f"speed of {len(group)} variants"
        left = sum(expected[node.key] for node in pending) * max(0.2, spent / planned)
        watch.started(name, total - len(pending), total, left)
        begun = time.monotonic()
        outcome = run_steps(group, store, plan.run.device, expected, watch.progress, watch.notice)
        spent, planned = spent + time.monotonic() - begun, planned + sum(expected[node.key] for node in group)
        if outcome.corrupt in by_key and outcome.corrupt not in mended and store.folder(outcome.corrupt).exists():
            mended.add(outcome.corrupt)  # once: what damages its input each time would go on for ever
            store.set_aside(outcome.corrupt)
            watch.notice(f"{outcome.reason.partition(';')[0]}: set aside, and made anew")
            pending.insert(0, by_key[outcome.corrupt])  # made again first; what needs it stays pending behind it
            expected.setdefault(outcome.corrupt, 0.0)
            total, summary.stored = total + 1, summary.stored - 1
            continue
        for node in group:
            pending.remove(node)
            if outcome.reason:
                summary.failed[node.key] = outcome.reason
                _remember(node, outcome.reason, store, watch)
            elif node.key in outcome.meanwhile:
                summary.meanwhile += 1
            else:
                summary.executed.append(node.key)
        left = sum(expected[node.key] for node in pending) * max(0.2, spent / planned)
        watch.finished(name, outcome, total - len(pending), total, left)
    if plan.run.keep == "none":
        unmeasured = {*summary.failed, *summary.skipped}
        summary.freed = sum(map(store.release, weights.to_let_go(nodes, unmeasured, store)))
    summary.seconds = time.monotonic() - started
    return summary


def _remember(node: Node, why: str, store: Store, watch: Watch) -> None:
    """Record why a step failed. Where even that cannot be written, the run goes on.

    Its own record holds the reason too.
    """
    try:
        store.fail(node.key, why, kind=node.step.KIND)
    except OSError as error:
        watch.notice(f"{store.root}: the failure could not be recorded: {error.strerror or error}")


def _asked_again(nodes: Sequence[Node], store: Store, redo: str) -> set[str]:
    """Return the keys of stored steps that `redo=` wants made again, and of all that were made from them."""
    if redo == "none":
        return set()
    again: set[str] = set()
    for node in nodes:  # in order: what a step was made from comes before it
        stored = store.has(node.key)
        outdated = stored and (redo == "all" or bool(differences(store.record(node.key))))
        if outdated or (stored and any(key in again for key in _before(node))):
            again.add(node.key)
    return again


def _sound(node: Node, store: Store, watch: Watch) -> bool:
    """Tell whether the step is stored and undamaged; a damaged one is set aside, kept, and redone.

    Weights are not read here: the step that loads them checks them.
    """
    if not store.folder(node.key).exists():
        return False
    damage = store.damage(node.key, weights=False)
    if damage is None and store.has(node.key):
        return True
    store.set_aside(node.key)
    watch.notice(
        f"stored step {node.key[:12]}: {damage or 'weights are missing or of another size'}: set aside, and made anew"
    )
    return False


def _next_group(pending: list[Node], store: Store, summary: Summary) -> list[Node]:
    """Return the next step, or the timed steps that share a session; drop those whose ancestors failed."""
    node = pending[0]
    lost = next((key for key in _before(node) if key in summary.failed or key in summary.skipped), None)
    if lost:
        reason = summary.failed.get(lost) or summary.skipped[lost]
        summary.skipped[node.key] = reason if reason.startswith("needs ") else f"needs a step that failed: {reason}"
        pending.remove(node)
        return []
    if not isinstance(node.step, Speed):  # the one measure that compares models side by side
        return [node]
    ready = [
        other
        for other in pending
        if isinstance(other.step, Speed)
        and other.step == node.step
        and other.needs == node.needs
        and all(store.has(key) for key in _before(other))
    ]
    sizes = [(other.key, _model_bytes(other, store)) for other in ready]
    dense = sum(_held_bytes(before, store) for before in node.needs)
    keys = set(sessions(sizes, dense, psutil.virtual_memory().available)[0])
    return [other for other in ready if other.key in keys]


def _before(node: Node) -> list[str]:
    return [other.key for other in (*node.ancestors(), *node.needs)]


def _model_bytes(node: Node, store: Store) -> int:
    return next(size for before in node.ancestors() if (size := _held_bytes(before, store)))


def _held_bytes(node: Node, store: Store) -> int:
    """Return the bytes of what a step made to be loaded: its artifact or its checkpoint."""
    return folder_bytes(store.folder(node.key) / ARTIFACT) or folder_bytes(store.folder(node.key) / CHECKPOINT)


def record(plan: Plan, store: Store, started: float, command: str, summary: Summary) -> dict[str, Any]:
    """Return what the reports need to find a run's results in the store."""

    return {
        "id": time.strftime("%Y%m%d-%H%M%S", time.gmtime(started)) + f"-{time.time_ns() % 10**6:06d}",
        "started": started,
        "seconds": summary.seconds,
        "command": redacted(command),
        "config": redacted(plan.run.model_dump(mode="json")),
        "dtype": plan.run.resolved_dtype,
        "metrics": plan.metrics,
        "quantities": plan.quantities,
        "origin": plan.origin,
        "notices": redacted(plan.notices),
        "environment": environment(),
        "failed": summary.failed,
        "skipped": summary.skipped,
        "variants": [
            {
                "name": variant.name,
                "recipe": variant.recipe,
                "method": variant.method,
                "budget": variant.budget,
                "quantizer": variant.quantizer,
                "simulated": variant.simulated,
                "emulated": variant.emulated,
                "runtime": variant.runtime,
                "bytes": variant.bytes,
                "chain": [node.key for node in variant.chain()],
                "measures": {kind: node.key for kind, node in variant.measures.items()},
            }
            for variant in plan.variants
        ],
    }
