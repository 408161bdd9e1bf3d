"""What `harness doctor parity` and `harness doctor scoring` begin with.

One dense model and the tasks of a suite.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.command.terminal import console
from harness.data import tasks
from harness.spec import CHECKPOINT, TaskSpec
from harness.storage.store import Store


@dataclass(frozen=True)
class Subject:
    """A loaded dense model, lm-eval's tasks by spec and part, and a folder of their own."""

    model: Any
    tokenizer: Any
    specs: tuple[TaskSpec, ...]
    tasks: dict[str, dict[str, Any]]
    folder: Path
    limit: int | None
    name: str


def subject(words: Sequence[str], purpose: str, wanted: Sequence[str]) -> Subject:
    """Return the model and tasks that words of a run name, the model brought into the store first.

    Of the tasks those `wanted`, or all.
    """
    os.environ.setdefault("TQDM_DISABLE", "1")  # lm-eval's own bars; read when tqdm is imported
    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    import transformers

    transformers.logging.set_verbosity_error()
    from harness import config, graph
    from harness.evaluation.evaluate import token_level
    from harness.executors.local import run_steps
    from harness.models import checkpoint

    with console().status("checking configuration, model and data"):
        run = config.compose([*words, "profile=standard", "methods=[dense]", "quantizers=[none]"])
        store = Store(run.store)
        store.prepare()
        made = graph.build(run)
        dense = made.variants[0]
        specs = tuple(
            spec
            for spec in dense.measures["evaluate"].step.tasks  # type: ignore[attr-defined]
            if not token_level(spec) and (not wanted or spec.name in wanted)
        )
        unknown = set(wanted) - set(made.metrics)
        if unknown or not specs:
            raise ValueError(f"tasks={','.join(sorted(unknown))}: the suite has {', '.join(made.metrics)}")
        device = checkpoint.pick_device(run.device)
        if not store.has(dense.checkpoint.key):
            outcome = run_steps([dense.checkpoint], store, device, {}, lambda fraction, text: None)
            if outcome.reason:
                raise ValueError(f"model={run.model}: {outcome.reason}")
        source = store.folder(dense.checkpoint.key) / CHECKPOINT
        folder = store.root / "doctor" / f"{purpose}-{dense.checkpoint.key[:12]}-{device.replace(':', '')}"
        folder.mkdir(parents=True, exist_ok=True)
        loaded = tasks.load(specs, folder / "tasks")
        model, tokenizer = checkpoint.load(source, device), checkpoint.load_tokenizer(source)
    name = f"{run.model}, {run.resolved_dtype}, {device}"
    return Subject(model, tokenizer, specs, loaded, folder, run.limit, name)
