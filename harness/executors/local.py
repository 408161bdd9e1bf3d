"""Run steps in a fresh process forked from one with the imports done; a death of ours ends the child as well."""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import os
import resource
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from harness.spec import Node, Work
from harness.store import Corrupt, Store

WHO = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)


@dataclass(frozen=True)
class Outcome:
    """How a process of steps ended; `reason` is empty when all is stored, `corrupt` names a stored step found damaged."""

    seconds: float
    reason: str = ""
    corrupt: str = ""


def run_steps(
    nodes: Sequence[Node], store: Store, device: str, expected: dict[str, float], progress: Callable[[float, str], None]
) -> Outcome:
    """Run one step, or several that share a session, and return how it went. The log of the first one's key has the output."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["harness.executors.warm"])
    ours, theirs = context.Pipe()
    begun = time.monotonic()
    process = context.Process(target=_child, args=(theirs, list(nodes), str(store.root), device, expected), daemon=True)
    process.start()
    theirs.close()
    reason, corrupt = "the process ended without a word", ""
    try:
        while True:
            kind, *content = ours.recv()
            if kind == "progress":
                progress(*content)
            elif kind == "done":
                reason = ""
                break
            else:
                reason, corrupt = content
                break
    except EOFError:
        process.join()
        code = process.exitcode or 0
        if code < 0:
            reason = f"killed by {signal.Signals(-code).name}" + (
                " (out of memory?)" if code == -signal.SIGKILL else ""
            )
    finally:
        if sys.exc_info()[0] is not None and process.pid is not None:
            process.terminate()
        ours.close()
        process.join()
    return Outcome(time.monotonic() - begun, reason, corrupt)


def _child(
    pipe: multiprocessing.connection.Connection, nodes: list[Node], root: str, device: str, expected: dict[str, float]
) -> None:
    from pathlib import Path

    from harness import progress

    store = Store(Path(root))
    log = os.open(store.log(nodes[0].key), os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(log, 1)
    os.dup2(log, 2)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides
    over = threading.Event()
    threading.Thread(target=_die_with_parent, args=(pipe, over), daemon=True).start()
    progress.listen(lambda fraction, text: pipe.send(("progress", fraction, text)))
    try:
        perform(nodes, store, device, expected)
        last: tuple[str, ...] = ("done",)
    except Corrupt as error:
        traceback.print_exc()
        last = ("failed", str(error), error.key)
    except BaseException as error:  # whatever ends a step becomes its row's reason
        traceback.print_exc()
        last = ("failed", _reason(error), "")
    over.set()
    pipe.send(last)


def _die_with_parent(pipe: multiprocessing.connection.Connection, over: threading.Event) -> None:
    """Leave at once when the parent is gone in the middle of a step: nobody would know what we finish."""
    try:
        pipe.recv()
    except (EOFError, OSError):
        if not over.is_set():
            os._exit(1)


def _reason(error: BaseException) -> str:
    text = (str(error).strip().splitlines() or [""])[0]
    name = type(error).__name__
    if isinstance(error, MemoryError) or "out of memory" in text.lower() or "can't allocate memory" in text.lower():
        return f"out of memory: {text}"
    return text if isinstance(error, ValueError) and text else f"{name}: {text}"


def perform(nodes: Sequence[Node], store: Store, device: str, expected: dict[str, float]) -> None:
    """Do the steps in this process and commit each; steps that another run stored meanwhile are left alone."""
    from harness.environment import environment
    from harness.models.checkpoint import pick_device

    with ExitStack() as stack:
        works = []
        for node in sorted(nodes, key=lambda each: each.key):  # one order for all runs: no deadlock
            stack.enter_context(store.lock(node.key))
            if store.has(node.key):
                continue
            draft = stack.enter_context(store.draft(node.key))
            before, needs = (tuple(other.key for other in group) for group in (node.ancestors(), node.needs))
            works.append(
                (node, Work(draft, store.scratch(node.key), store, node.key, before, needs, pick_device(device)))
            )
        if not works:
            return
        wall, cpu = time.monotonic(), cpu_seconds()
        if len(works) > 1:
            works[0][0].step.run_together([work for _, work in works])  # type: ignore[attr-defined]
        else:
            works[0][0].step.run(works[0][1])
        cost = {
            "seconds": (time.monotonic() - wall) / len(works),  # of a shared session each step bears its part
            "cpu_seconds": (cpu_seconds() - cpu) / len(works),
            "peak_memory_bytes": max(resource.getrusage(who).ru_maxrss for who in WHO) * 1024,
        }
        for node, work in works:
            store.commit(
                node.key, work.draft, step_record(node, work.result, cost, environment(), expected.get(node.key))
            )


def cpu_seconds() -> float:
    """Return the CPU time of this process and of the commands that it ran and waited for."""
    usages = [resource.getrusage(who) for who in WHO]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def step_record(
    node: Node, result: dict[str, Any], cost: dict[str, float], environment: dict[str, str], expected: float | None
) -> dict[str, Any]:
    """Return what is stored about a step beside its files."""
    return {
        "kind": node.step.KIND,
        "title": node.step.title(),
        "step": node.step.fingerprint_fields(),
        "parent": node.parent.key if node.parent else None,
        "environment": environment,
        "cost": cost,
        "estimated_seconds": expected,
        "finished": time.time(),
        "result": result,
    }
