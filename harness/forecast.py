"""What a plan will take before any of it is done: seconds of work, and bytes of disk."""

from __future__ import annotations

import shutil
import statistics
import time
from collections.abc import Iterable, Sequence

from harness import weights
from harness.bytes_budget import BITS
from harness.graph import Plan
from harness.machine import environment
from harness.models.source import Import
from harness.spec import Node, Step
from harness.storage.store import Store
from harness.words.sizes import storage

BACKWARD = 3.2  # of a forward pass, that a training pass takes
DECODE = 40.0  # forward tokens that one decoded token costs, batch 1
UNKNOWN = 135e6  # parameters, where neither store nor source says how many


def seconds(step: Step, parameters: float, rate: float, history: dict[str, float]) -> float:
    """Return seconds for a step.

    Its tokens through a model of `parameters` at `rate` FLOP/s, corrected by past runs.
    """
    cost = step.cost()
    tokens = cost.forward_tokens + BACKWARD * cost.backward_tokens + DECODE * cost.decode_tokens
    return (cost.seconds + 2 * parameters * tokens / rate) * history.get(step.KIND, 1.0)


def all_seconds(steps: Sequence[Node], plan: Plan, store: Store) -> dict[str, float]:
    """Return the seconds that each of `steps` will take, by key; the machine is not measured for no steps."""
    if not steps:
        return {}
    rate, past, parameters = machine_rate(plan.run.resolved_dtype), history(store), model_parameters(plan, store)
    return {node.key: seconds(node.step, parameters, rate, past) for node in steps}


def machine_rate(dtype: str) -> float:
    """Return the FLOP/s that a decoder's forward pass reaches here.

    Half of a matrix product's, measured in some 50 ms.
    """

    import torch

    kind = getattr(torch, dtype)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    left, right = torch.ones(256, 1024, dtype=kind, device=device), torch.ones(1024, 2048, dtype=kind, device=device)
    best = float("inf")
    for _ in range(5):
        start = time.perf_counter()
        (left @ right).sum().item()
        best = min(best, time.perf_counter() - start)
    return 0.5 * 2 * 256 * 1024 * 2048 / best


def history(store: Store) -> dict[str, float]:
    """Return per kind of step the median of actual over estimated seconds among what is stored."""
    ratios: dict[str, list[float]] = {}
    for key in store.keys()[-200:]:
        record = store.record(key)
        if record.get("estimated_seconds") and record["environment"]["fingerprint"] == environment.fingerprint():
            ratios.setdefault(record["kind"], []).append(record["cost"]["seconds"] / record["estimated_seconds"])
    return {kind: statistics.median(values) for kind, values in ratios.items()}


def model_parameters(plan: Plan, store: Store) -> float:
    """Return the dense model's parameters, as stored or as its source says; 135e6 where neither does."""
    return known_parameters(plan, store) or UNKNOWN


def known_parameters(plan: Plan, store: Store) -> float | None:
    """Return the dense model's parameters, as stored or as its source says; None where neither does."""
    dense = plan.variants[0].chain()[0]
    if store.has(dense.key):
        return float(store.result(dense.key)["parameters"])
    return float(dense.step.source.parameters) or None if isinstance(dense.step, Import) else None


def size_notice(plan: Plan, store: Store) -> str:
    """Return a line that says so where nobody knows the model's size yet; empty elsewhere."""
    if known_parameters(plan, store) is not None:
        return ""
    return (
        f"how many parameters {plan.run.model} has is not known before it is imported: time and disk are estimated for "
        f"{UNKNOWN / 1e6:.0f}M"
    )


def disk(steps: Iterable[Node], plan: Plan, store: Store) -> float:
    """Return the bytes that the checkpoints of `steps` take at most."""
    dense = model_parameters(plan, store) * BITS[plan.run.resolved_dtype] / 8
    return dense * sum(share(node) for node in steps)


def share(node: Node) -> float:
    """Return a step's checkpoint in dense checkpoints: no larger than the one it was made from.

    0 without one.
    """
    own = node.step.checkpoint_share()
    before = next((part for part in map(share, node.ancestors()) if part), own)
    return min(own, before)


def check_disk(plan: Plan, store: Store) -> None:
    """Raise ValueError where the checkpoints that are still to be written do not fit beside the store."""
    nodes = plan.steps()
    undone = weights.undone(nodes, store)
    needed = disk((node for node in nodes if node.key in undone), plan, store)
    free = shutil.disk_usage(store.root).free
    if needed > free:
        raise ValueError(
            f"store={store.root}: the run's checkpoints take up to {storage(needed)}, and {storage(free)} are free; "
            "choose another disk with store=FOLDER, or fewer methods, budgets or quantizers"
        )
