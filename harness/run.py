"""Execute a plan: skip what is stored, run the rest one fresh process at a time, carry on past failures."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from harness import estimates
from harness.executors.local import Outcome, run_steps
from harness.measures.speed import Speed, folder_bytes, sessions
from harness.plan import Plan
from harness.spec import CHECKPOINT, Node
from harness.store import Store


@dataclass
class Summary:
    """What a run did: how many steps were stored already, executed, failed, or skipped because of a failure before them."""

    stored: int = 0
    executed: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0


@dataclass
class Watch:
    """What the display is told; the default shows nothing."""

    started: Callable[[str, int, int, float], None] = lambda title, done, total, left: None
    progress: Callable[[float, str], None] = lambda fraction, text: None
    finished: Callable[[str, Outcome, int, int, float], None] = lambda title, outcome, done, total, left: None


def title(node: Node, plan: Plan) -> str:
    """Return the step's name with the variant it belongs to."""
    for variant in plan.variants:
        if any(node.key == measure.key for measure in variant.measures.values()):
            return f"{node.step.title()} {variant.name}"
    return node.step.title()


def execute(plan: Plan, store: Store, watch: Watch) -> Summary:
    """Run every step that is not stored, in order; descendants of a failed step are skipped with its reason."""
    summary, started = Summary(), time.monotonic()
    nodes = plan.steps()
    pending = [node for node in nodes if not _sound(node, store)]
    summary.stored = len(nodes) - len(pending)
    rate = estimates.machine_rate(plan.run.resolved_dtype) if pending else 1.0
    past = estimates.history(store)
    parameters = estimates.model_parameters(plan, store)
    expected = {node.key: estimates.seconds(node, parameters, rate, past) for node in pending}
    total, spent, planned = len(pending), 1.0, 1.0
    by_key = {node.key: node for node in nodes}
    while pending:
        group = _next_group(pending, store, summary)
        if not group:
            continue
        name = title(group[0], plan) if len(group) == 1 else f"speed of {len(group)} variants"
        left = sum(expected[node.key] for node in pending) * max(0.2, spent / planned)
        watch.started(name, total - len(pending), total, left)
        begun = time.monotonic()
        outcome = run_steps(group, store, plan.run.device, expected, watch.progress)
        spent, planned = spent + time.monotonic() - begun, planned + sum(expected[node.key] for node in group)
        if outcome.corrupt in by_key and store.folder(outcome.corrupt).exists():
            store.set_aside(outcome.corrupt)
            pending.insert(0, by_key[outcome.corrupt])  # made again first; what needs it stays pending behind it
            expected.setdefault(outcome.corrupt, 0.0)
            total, summary.stored = total + 1, summary.stored - 1
            continue
        for node in group:
            pending.remove(node)
            if outcome.reason:
                summary.failed[node.key] = outcome.reason
                store.fail(node.key, outcome.reason, kind=node.step.KIND)
            else:
                summary.executed.append(node.key)
        left = sum(expected[node.key] for node in pending) * max(0.2, spent / planned)
        watch.finished(name, outcome, total - len(pending), total, left)
    summary.seconds = time.monotonic() - started
    return summary


def _sound(node: Node, store: Store) -> bool:
    """Tell whether the step is stored and undamaged; a damaged one is set aside, kept, and redone."""
    if not store.folder(node.key).exists():
        return False
    if store.has(node.key) and not _small_damage(store, node.key):
        return True
    store.set_aside(node.key)
    return False


def _small_damage(store: Store, key: str) -> bool:
    """Check the bytes of everything but weights, whose checksum is read by the step that loads them."""
    from harness.store import sha256_file

    files = store.record(key)["files"]
    return any(
        sha256_file(store.folder(key) / name) != entry["sha256"]
        for name, entry in files.items()
        if not name.endswith(".safetensors")
    )


def _next_group(pending: list[Node], store: Store, summary: Summary) -> list[Node]:
    """Return the next step, or the timed steps that share a session; drop those whose ancestors failed."""
    node = pending[0]
    lost = next((key for key in _before(node) if key in summary.failed or key in summary.skipped), None)
    if lost:
        reason = summary.failed.get(lost) or summary.skipped[lost]
        summary.skipped[node.key] = reason if reason.startswith("needs ") else f"needs a step that failed: {reason}"
        pending.remove(node)
        return []
    if not isinstance(node.step, Speed):
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
    dense = folder_bytes(store.folder(node.needs[0].key) / CHECKPOINT)
    keys = set(sessions(sizes, dense, psutil.virtual_memory().available)[0])
    return [other for other in ready if other.key in keys]


def _before(node: Node) -> list[str]:
    return [other.key for other in (*node.ancestors(), *node.needs)]


def _model_bytes(node: Node, store: Store) -> int:
    return next(size for before in node.ancestors() if (size := folder_bytes(store.folder(before.key) / CHECKPOINT)))


def record(plan: Plan, store: Store, started: float, command: str, summary: Summary) -> dict[str, Any]:
    """Return what the reports need to find a run's results in the store."""
    from harness.environment import environment

    return {
        "id": time.strftime("%Y%m%d-%H%M%S", time.gmtime(started)) + f"-{time.time_ns() % 10**6:06d}",
        "started": started,
        "seconds": summary.seconds,
        "command": command,
        "config": plan.run.model_dump(mode="json"),
        "dtype": plan.run.resolved_dtype,
        "metrics": plan.metrics,
        "environment": environment(),
        "skipped": summary.skipped,
        "variants": [
            {
                "name": variant.name,
                "recipe": variant.recipe,
                "method": variant.method,
                "budget": variant.budget,
                "quantizer": variant.quantizer,
                "simulated": variant.simulated,
                "chain": [node.key for node in variant.chain()],
                "measures": {kind: node.key for kind, node in variant.measures.items()},
            }
            for variant in plan.variants
        ],
    }


def relative(path: Path) -> str:
    """Return the path as the user would write it."""
    try:
        return str(path.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(path)
