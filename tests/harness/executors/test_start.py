"""Processes of steps are forked where that is safe, and spawned elsewhere.

Forking is not safe where what was imported before has touched CUDA.
"""

from __future__ import annotations

import multiprocessing
from pathlib import Path

import pytest
from runs import planned

from harness.executors import local
from harness.executors.server import Server

SPOILT = "spoilt"  # a file in the store: the first process finds CUDA spoilt


def child(pipe, nodes, root, device, expected) -> None:
    """Stand for `_child` on a machine with CUDA: what was forked cannot use it."""
    if (Path(root) / SPOILT).exists():
        (Path(root) / SPOILT).unlink()
        pipe.send(("spoilt",))
        return
    CHILD(pipe, nodes, root, device, expected)


CHILD = local._child


@pytest.mark.timeout(300)
def test_a_step_whose_fork_cannot_use_cuda_is_done_by_a_process_of_its_own(tmp_path, monkeypatch):
    monkeypatch.setattr(local, "SERVER", Server())
    monkeypatch.setattr(local, "_child", child)
    started: list[str] = []
    context = multiprocessing.get_context
    monkeypatch.setattr(multiprocessing, "get_context", lambda kind: (started.append(kind), context(kind))[1])
    made, store = planned(tmp_path, "methods=[dense]", "quantizers=[none]", "measure.speed=false", "limit=1")
    (store.root / SPOILT).touch()
    dense = made.variants[0].checkpoint
    outcome = local.run_steps([dense], store, "cpu", {}, lambda fraction, text: None)
    assert started == ["forkserver", "spawn"]
    assert outcome.reason == ""
    assert store.damage(dense.key) is None
