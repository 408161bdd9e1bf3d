"""What `harness doctor parity` and `harness doctor scoring` begin with: one dense model and the tasks of a suite."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.spec import TaskSpec
from harness.verbs.terminal import console
from harness.verbs.words import listed, options

KNOWN = {
    "suite": "demo",
    "model": "smollm2-135m",
    "data_dir": "",
    "limit": "",
    "dtype": "float32",
    "device": "auto",
    "store": "harness-store",
    "tasks": "",
}


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


def subject(words: list[str], purpose: str, extra: dict[str, str]) -> tuple[Subject, dict[str, str]]:
    """Return the model and tasks that the words name, the model brought into the store first, and all options."""
    asked = options(words, KNOWN | extra)
    os.environ.setdefault("TQDM_DISABLE", "1")  # lm-eval's own bars; read when tqdm is imported
    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    import transformers

    transformers.logging.set_verbosity_error()
    from harness import config, plan
    from harness.data import tasks
    from harness.evaluation.evaluate import token_level
    from harness.executors.local import run_steps
    from harness.models import checkpoint
    from harness.spec import CHECKPOINT
    from harness.store import Store

    passed = [f"{key}={asked[key]}" for key in ("suite", "model", "data_dir", "limit", "dtype", "device", "store")]
    wanted = [word for word in passed if not word.endswith("=")]
    with console().status("checking configuration, model and data"):
        run = config.compose([*wanted, "profile=standard", "methods=[dense]", "quantizers=[none]"])
        store = Store(run.store)
        store.prepare()
        made = plan.build(run)
        dense = made.variants[0]
        specs = tuple(
            spec
            for spec in dense.measures["evaluate"].step.tasks  # type: ignore[attr-defined]
            if not token_level(spec) and (not asked["tasks"] or spec.name in listed(asked["tasks"]))
        )
        unknown = set(listed(asked["tasks"])) - set(made.metrics)
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
    return Subject(model, tokenizer, specs, loaded, folder, run.limit, name), asked
