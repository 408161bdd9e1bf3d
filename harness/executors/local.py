"""Run steps in a fresh process forked from one with the imports done.

A death of ours ends the child as well.
"""

from __future__ import annotations

import multiprocessing.connection
import os
import resource
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness import progress
from harness.executors.server import SERVER
from harness.machine.environment import environment
from harness.spec import Node, Work
from harness.storage.store import Corrupt, Store
from harness.words.reasons import reason
from harness.words.redaction import redacted

WHO = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)


@dataclass(frozen=True)
class Outcome:
    """How a process of steps ended.

    `reason` is empty when all is stored, `corrupt` names a stored step found damaged.

    `meanwhile`: keys that another run had stored when our turn came.
    """

    seconds: float
    reason: str = ""
    corrupt: str = ""
    meanwhile: tuple[str, ...] = ()


def run_steps(
    nodes: Sequence[Node],
    store: Store,
    device: str,
    expected: dict[str, float],
    progress: Callable[[float, str], None],
    notice: Callable[[str], None] = print,
) -> Outcome:
    """Run one step, or several that share a session, and return how it went.

    The log of the first one's key has the output.
    """
    begun = time.monotonic()
    for node in nodes:
        _ = node.key, node.code  # worked out here once, for all processes: modules are parsed for it
    timed = any(getattr(node.step, "TIMED", False) for node in nodes)
    with SERVER.context(timed=timed, notice=notice) as context:
        ours, theirs = context.Pipe()
        content = (theirs, list(nodes), str(store.root), device, expected)
        process = context.Process(target=_child, args=content, daemon=True)
        process.start()
    theirs.close()
    why, corrupt, kind = "the process ended without a word", "", ""
    meanwhile: tuple[str, ...] = ()
    try:
        while True:
            kind, *content = ours.recv()
            if kind == "progress":
                progress(*content)
            elif kind == "notice":
                notice(*content)
            elif kind == "spoilt":
                SERVER.method = "spawn"  # what was imported before the fork has touched CUDA, which no fork survives
                break
            elif kind == "done":
                why, [meanwhile] = "", content
                break
            else:
                why, corrupt = content
                break
    except EOFError:
        process.join()
        code = process.exitcode or 0
        if code < 0:
            why = f"killed by {signal.Signals(-code).name}" + (" (out of memory?)" if code == -signal.SIGKILL else "")
    finally:
        if sys.exc_info()[0] is not None and process.pid is not None:
            process.terminate()
        ours.close()
        process.join()
    if kind == "spoilt":
        return run_steps(nodes, store, device, expected, progress, notice)
    return Outcome(time.monotonic() - begun, why, corrupt, meanwhile)


def _child(
    pipe: multiprocessing.connection.Connection, nodes: list[Node], root: str, device: str, expected: dict[str, float]
) -> None:

    store = Store(Path(root))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides
    over = threading.Event()
    threading.Thread(target=_die_with_parent, args=(pipe, over), daemon=True).start()
    progress.listen(
        lambda fraction, text: pipe.send(("progress", fraction, text)), lambda text: pipe.send(("notice", text))
    )
    try:
        if device != "cpu" and _cuda_is_spoilt():
            over.set()
            pipe.send(("spoilt",))
            return
        log = os.open(store.log(nodes[0].key), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
        os.dup2(log, 1)
        os.dup2(log, 2)
        last: tuple[Any, ...] = ("done", perform(nodes, store, device, expected))
    except BaseException as error:  # whatever ends a step becomes its row's reason
        with suppress(OSError):  # a full disk takes no log, and the reason must get through all the same
            traceback.print_exc()
            sys.stderr.flush()
        last = ("failed", redacted(reason(error)), error.key if isinstance(error, Corrupt) else "")
    over.set()
    pipe.send(last)


def _cuda_is_spoilt() -> bool:
    """Tell whether this process was forked from one that had asked CUDA something.

    Torch refuses to use it then.
    """
    import torch

    return bool(torch.cuda._is_in_bad_fork())


def _die_with_parent(pipe: multiprocessing.connection.Connection, over: threading.Event) -> None:
    """Leave at once when the parent is gone in the middle of a step: nobody would know what we finish."""
    try:
        pipe.recv()
    except (EOFError, OSError):
        if not over.is_set():
            os._exit(1)


def perform(nodes: Sequence[Node], store: Store, device: str, expected: dict[str, float]) -> tuple[str, ...]:
    """Do the steps in this process and commit each.

    Return the keys of those that another run stored meanwhile.
    """
    from harness.models.checkpoint import pick_device

    with ExitStack() as stack:
        works, meanwhile = [], []
        for node in sorted(nodes, key=lambda each: each.key):  # one order for all runs: no deadlock
            stack.enter_context(store.lock(node.key))
            if store.has(node.key) and not store.released(node.key):
                meanwhile.append(node.key)
                continue
            draft = stack.enter_context(store.draft(node.key))
            before, needs = (tuple(other.key for other in group) for group in (node.ancestors(), node.needs))
            works.append(
                (node, Work(draft, store.scratch(node.key), store, node.key, before, needs, pick_device(device)))
            )
        if not works:
            return tuple(meanwhile)
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
    return tuple(meanwhile)


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
        "step": redacted(node.step.fingerprint_fields()),
        "parent": node.parent.key if node.parent else None,
        "code": node.code,
        "environment": environment,
        "cost": cost,
        "estimated_seconds": expected,
        "finished": time.time(),
        "result": result,
    }
