"""Whole runs on the tiny random model, as `harness run` makes them, in this process."""

from __future__ import annotations

import time
from pathlib import Path

from harness import config, graph
from harness.execution import Watch, execute, record
from harness.storage.store import Store
from reports.run import rows as reading

QUICK = [
    "suite=demo",
    "model=random-llama",
    "limit=2",
    "dtype=float32",
    "keep=weights",
    "measure.rounds=2",
    "measure.batches=[1]",
    "measure.prompt_tokens=8",
    "measure.generate_tokens=2",
    "calibration.samples=4",
    "calibration.length=32",
    "settings.nas.training_tokens=256",
    "settings.nas.evaluations=24",
    "settings.nas.search_items=2",
    "settings.nas.length=32",
    "settings.nas.finalists=2",
]


def words(tmp_path: Path, *more: str) -> list[str]:
    return [*QUICK, f"store={tmp_path / 'store'}", f"report={tmp_path / 'report'}", *more]


def planned(tmp_path: Path, *more: str) -> tuple[graph.Plan, Store]:
    run = config.compose(words(tmp_path, *more))
    store = Store(run.store)
    store.prepare()
    return graph.build(run), store


def ran(tmp_path: Path, *more: str):
    made, store = planned(tmp_path, *more)
    summary = execute(made, store, Watch())
    run = record(made, store, time.time(), "harness run", summary)
    store.save_run(run)
    return made, store, summary, reading.read(run, store)[0]
