"""Check that the installation is ours and whole, and say what this machine can do."""

from __future__ import annotations

import importlib
import importlib.metadata
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console

from harness import registry
from harness.machine import caches, counters, environment
from harness.models import embedded
from harness.storage.sources import OURS as PACKAGES
from harness.storage.store import Store


def foreign_packages() -> list[str]:
    """Return those of our four import packages that another distribution provides.

    The names exist on public registries.
    """
    here = Path(__file__).resolve().parents[2]
    places = {name: Path(str(importlib.import_module(name).__file__)).resolve().parent.parent for name in PACKAGES}
    return [f"{name} comes from {place}" for name, place in places.items() if place != here]


def checks(store: Path) -> Iterator[tuple[str, str, bool]]:
    """Yield (what, finding, in order)."""
    foreign = foreign_packages()
    yield "packages", "; ".join(foreign) or "all four come from this installation", not foreign
    for name, value in environment.environment().items():
        yield (
            name,
            value or "unknown",
            name not in ("torch", "transformers", "lm-eval", "torchao", "pymoo") or value != "absent",
        )
    yield "bfloat16", "native" if environment.has_bfloat16() else "not native: dtype=auto is float32", True
    yield "energy", _energy(), True

    yield "methods", ", ".join(sorted(registry.methods())), True
    yield "quantizers", ", ".join(sorted(registry.quantizers())), True

    cached = caches.cache_folder() / Path(embedded.MEMBER).name
    yield "embedded model", "cached" if cached.is_file() else "fetched from the package registry at first use", True
    if store.exists():
        yield _stored(Store(store))


def _energy() -> str:
    """Return which counters of energy can be read here, or why none can."""
    try:
        return ", ".join(counter.name for counter in counters.counters("cuda" if environment.accelerators() else "cpu"))
    except ValueError as error:
        return str(error)


def _stored(store: Store) -> tuple[str, str, bool]:
    """Return whether every step and run of a store is what was written; every byte is read."""
    try:
        store.opened()
    except ValueError as error:
        return "store", str(error), False
    folders = sorted(store.root.glob("steps/*"))
    damaged = [f"{folder.name[:12]}: {damage}" for folder in folders if (damage := store.damage(folder.name))]
    damaged += [str(error) for error in store.damaged_runs()]
    return "store", "; ".join(damaged) or f"{len(folders)} steps, all checksums match", not damaged


def run(store: Path, console: Console) -> int:
    """Print every check and return 0 when all are in order, else 1."""
    good = True
    for what, finding, fine in checks(store):
        console.print(
            f"{'ok ' if fine else 'BAD'}  {what}: {finding}",
            style=None if fine else "red",
            soft_wrap=True,
        )
        good = good and fine
    return 0 if good else 1
