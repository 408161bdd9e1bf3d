"""What a stored run measured of each variant, as a regression gate compares it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from harness.measures.all_measures import table
from harness.storage.store import Corrupt, Store
from reports.compare.sides import Side, stored_side

SIZES = tuple(key for key, each in table().items() if each.gate == "exact")  # no machine changes them
MEMORY = "peak_memory_bytes"
LEVELS = tuple(  # of one machine, without samples of their own
    key for key, each in table().items() if each.gate == "relative" and key != MEMORY and "_ratio" not in key
)


@dataclass(frozen=True)
class Measured:
    """One variant of a run: its items, sizes and speeds.

    What was not measured is absent, and `missing` says why.
    """

    name: str
    side: Side | None = None
    sizes: dict[str, float] = field(default_factory=dict)
    memory: float | None = None  # bytes, at most resident while it generates
    speeds: dict[str, np.ndarray] = field(default_factory=dict)  # (rounds,): dense seconds over its own
    fingerprint: str = ""
    contended: bool = False
    taken: dict[str, tuple[str, float]] = field(default_factory=dict)  # by kind: the step's key, when it was finished
    missing: dict[str, str] = field(default_factory=dict)  # by kind: why it was planned and is not there
    levels: dict[str, float] = field(default_factory=dict)  # other quantities of the machine that it was measured on


def measured(run: dict[str, Any], store: Store) -> dict[str, Measured]:
    """Return what the run measured, by the names of its variants."""
    return {variant["name"]: _variant(variant, run, store) for variant in run["variants"]}


def _variant(variant: dict[str, Any], run: dict[str, Any], store: Store) -> Measured:
    keys = variant["measures"]
    for key in keys.values():
        if store.folder(key).exists() and (damage := store.damage(key, weights=False)):
            raise Corrupt(key, damage)
    there = {kind: store.record(key) for kind, key in keys.items() if store.has(key)}
    results = {kind: record["result"] for kind, record in there.items()}
    footprint, speed = results.get("footprint", {}), results.get("speed", {})
    return Measured(
        name=variant["name"],
        side=stored_side(variant["name"], keys["evaluate"], run, store) if "evaluate" in there else None,
        sizes={name: footprint[name] for name in SIZES if footprint.get(name) is not None},
        levels={name: value for name in LEVELS if (value := _numbers(results).get(name)) is not None},
        memory=footprint.get(MEMORY),
        speeds={
            kind: np.array(taken["dense_seconds"]) / np.array(taken["seconds"])
            for kind, taken in speed.get("samples", {}).items()
        },
        fingerprint=next(
            (there[kind]["environment"]["fingerprint"] for kind in ("speed", "footprint") if kind in there), ""
        ),
        contended=bool(speed.get("contention", {}).get("contended")),
        taken={kind: (keys[kind], record["finished"]) for kind, record in there.items()},
        missing={kind: _reason(variant, kind, run, store) for kind in keys if kind not in there},
    )


def _numbers(results: dict[str, dict[str, Any]]) -> dict[str, Any]:
    return {name: value for kind, result in results.items() if kind != "evaluate" for name, value in result.items()}


def _reason(variant: dict[str, Any], kind: str, run: dict[str, Any], store: Store) -> str:
    """Return why a measure is not there: its own failure, or that of a step before it."""
    for key in (variant["measures"][kind], *variant["chain"]):
        if not store.has(key) and (failure := store.failure(key)):
            return str(failure["reason"])
    return str(run["skipped"].get(variant["measures"][kind], "not measured"))
