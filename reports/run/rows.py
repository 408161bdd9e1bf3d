"""From the store to one row a variant and the facts about the run.

Everything a report shows is derived here.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from harness.evaluation.items import scores
from harness.measures.all_measures import measures as measures_by_name
from harness.quantities import Quantity, of_run, plain, recorded
from harness.storage import provenance
from harness.storage.store import Corrupt, Store
from reports.run.averages import add_averages
from reports.run.cautions import scoring
from reports.run.in_runtimes import add_torch_ratios
from reports.run.method_fronts import method_fronts
from reports.variants import Facts, Row

# steps that are a variant's price
MADE = (
    "compress",
    "supernet",
    "search",
    "pick",
    "recover",
    "refit",
    "command",
    "recipe",
    "quantize",
    "convert",
    "requantize",
)
APART = (
    "searcher",
    "options",
    "staged",
    "evaluations",
    "search_seed",
)  # fields in which comparable searches may differ
CHARTED = ("losses.json", "records.json")


def read(run: dict[str, Any], store: Store) -> tuple[list[Row], Facts]:
    """Return the run's rows, dense first, and what a report says about it as a whole.

    A variant without its checkpoint or scores has a status and a reason; so has one whose stored files are not what was
    written: what is read here is checked against its checksum first.
    """
    rows, items = [], []
    for variant in run["variants"]:
        try:
            answers = _items(variant, store)
            row = _row(variant, run, store)
        except Corrupt as error:
            answers, row = [], _identity(variant, store) | {"status": "damaged", "reason": str(error)}
        rows.append(row)
        items.append(answers)
    add_torch_ratios(rows)
    draws = add_averages(rows, items, of_run(run))
    return rows, _facts(run, store) | {"method_fronts": method_fronts(rows, draws) if draws is not None else []}


def _facts(run: dict[str, Any], store: Store) -> Facts:
    config = run["config"]
    return {
        "model": config["model"],
        "suite": config["suite"],
        "limit": config["limit"],
        "seed": config["seed"],
        "dtype": run["dtype"],
        "profile": config["profile"],
        "scorer": config["scorer"],
        "tasks": [{"name": name, "metric": value.key, **plain(value)} for name, value in of_run(run).items()],
        "environment": run["environment"],
        "command": run["command"],
        "generated": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(run["started"] + run["seconds"])),
        "loss_curves": _curves(run, store),
        "searches": _searches(run, store),
        "warnings": _warnings(run, store),
    }


def _warnings(run: dict[str, Any], store: Store) -> list[str]:
    """Return what a reader must know.

    What the plan said of the suite, which steps are of other code, which charts are left out.
    """
    keys = dict.fromkeys(
        key for variant in run["variants"] for key in (*variant["chain"], *variant["measures"].values())
    )
    stored = [key for key in keys if store.has(key)]
    outdated = [each for key in stored if (each := provenance.differences(store.record(key)))]
    damaged = [
        str(chart) for key in keys for name in CHARTED if isinstance(chart := _charted(store, key, name), Corrupt)
    ]
    return [line for line in (*run.get("notices", ()), provenance.sentence(outdated, len(stored)), *damaged) if line]


def _charted(store: Store, key: str, name: str) -> Path | Corrupt | None:
    """Return a file that a chart is made of, None where the step has none, or what is wrong with it."""
    try:
        return store.file(key, name) if store.folder(key).exists() else None
    except Corrupt as error:
        return error


def _identity(variant: dict[str, Any], store: Store) -> Row:
    row: Row = {name: variant[name] for name in ("method", "budget", "quantizer", "simulated", "recipe")}
    row |= {"runtime": variant.get("runtime", "torch"), "bytes_asked": variant.get("bytes")}
    made = variant["chain"][-1]
    checkpoint = None if store.released(made) else str(store.folder(made) / "checkpoint")
    return row | {"variant": variant["name"], "checkpoint": checkpoint, "status": "ok", "reason": ""}


def _row(variant: dict[str, Any], run: dict[str, Any], store: Store) -> Row:
    row = _identity(variant, store)
    for key in variant["measures"].values():
        if store.folder(key).exists() and not store.has(key):
            raise Corrupt(key, store.damage(key) or "files are missing")
    missing = [key for key in (*variant["chain"], *variant["measures"].values()) if not store.has(key)]
    if set(missing) & set(variant["measures"].values()):  # what was measured stands, even where weights are gone since
        failure = next((kept for key in missing if (kept := store.failure(key))), None)
        own = failure is not None and (failure["key"] in missing)
        skipped = next((run["skipped"][key] for key in missing if key in run["skipped"]), "")
        row["status"] = "failed" if own else "skipped"
        told = next((run["failed"][key] for key in missing if key in run.get("failed", {})), "")
        row["reason"] = failure["reason"] if failure else told or skipped or "not run yet"
        if told:
            row["status"] = "failed"
        row["log"] = failure["log"] if failure else None
    made = [store.record(key) for key in variant["chain"] if store.folder(key).exists()]
    if len(made) == len(variant["chain"]):
        row |= _cost(made)
    measures = {kind: store.result(key) for kind, key in variant["measures"].items() if store.has(key)}
    for kind, result in measures.items():
        if kind != "evaluate":
            row |= measured_row(kind, result)
    told = (variant, measures.get("footprint", {}), *(record["result"] for record in made))
    row["emulated"] = any(each.get("emulated") for each in told)
    if "evaluate" in measures:
        row |= {
            f"{task}.{name}": value
            for task, scores in measures["evaluate"]["tasks"].items()
            for name, value in scores.items()
        }
        row |= scoring(measures["evaluate"])
        record = store.record(variant["measures"]["evaluate"])
        row |= {
            "evaluation_seconds": record["cost"]["seconds"],
            "evaluation_cpu_seconds": record["cost"]["cpu_seconds"],
        }
    return row


def _cost(chain: list[dict[str, Any]]) -> Row:
    made = [record for record in chain if record["kind"] in MADE]
    total: Row = {name: sum(record["cost"][name] for record in made) for name in ("seconds", "cpu_seconds")}
    total |= {
        name: sum(record["result"].get(name) or 0 for record in made)
        for name in ("calibration_tokens", "training_tokens")
    }
    for name, key in (("teacher_tokens", "teacher_tokens"), ("search_evaluations", "evaluations")):
        total[name] = sum(record["result"].get(key) or 0 for record in made) or None
    total["compression_peak_memory_bytes"] = max((record["cost"]["peak_memory_bytes"] for record in made), default=None)
    return total


def measured_row(kind: str, result: dict[str, Any]) -> Row:
    """Return what of a measure's result stands in the row.

    All of it where the measure is not installed here.
    """
    by_name = measures_by_name()
    return by_name[kind].row(result) if kind in by_name else dict(result)


def _items(variant: dict[str, Any], store: Store) -> list[dict[str, Any]]:
    key = variant["measures"].get("evaluate", "")
    if not key or not store.folder(key).exists():
        return []
    path = store.file(key, "items.parquet")
    return pq.read_table(path).to_pylist() if path else []


def recomputed(run: dict[str, Any], store: Store) -> dict[str, dict[str, dict[str, float]]]:
    """Return every variant's task metrics computed anew from its stored items."""
    result = {}
    for variant in run["variants"]:
        items = _items(variant, store)
        result[variant["name"]] = {
            name: scores([item for item in items if item["task"] == name], headline, _others(run, name))
            for name, headline in of_run(run).items()
            if items
        }
    return result


def _others(run: dict[str, Any], task: str) -> dict[str, Quantity]:
    return {name: recorded(name, better) for name, better in (run.get("quantities") or {}).get(task, {}).items()}


def _curves(run: dict[str, Any], store: Store) -> dict[str, Any]:
    """Return the losses of every training of the run, named for who used it; each training once."""
    users: dict[str, list[dict[str, Any]]] = {}
    for variant in run["variants"]:
        for key in variant["chain"]:
            if isinstance(_charted(store, key, "losses.json"), Path):
                users.setdefault(key, []).append(variant)
    curves: dict[str, Any] = {}
    for key, variants in users.items():
        losses = json.loads((store.folder(key) / "losses.json").read_text())
        if not losses:  # a super-network that is searched as it is
            continue
        recipes = list(dict.fromkeys(variant["recipe"] for variant in variants))
        budgets = {variant["budget"] for variant in variants}
        name = recipes[0] + (f" and {len(recipes) - 1} more" if len(recipes) > 1 else "")
        kind = store.record(key)["kind"]
        if kind == "supernet":
            name += " super-network"
        elif len(budgets) == 1 and budgets != {None}:
            name += f"@{budgets.pop():g}"
        same = sum(other == name or other.startswith(f"{name} (") for other in curves)
        curves[f"{name} ({same + 1})" if same else name] = losses
    return curves


def _searches(run: dict[str, Any], store: Store) -> list[dict[str, Any]]:
    """Return the records of every search of the run.

    Each with its name, its limit, what it spent and its problem.

    Searches have the same `problem` where they have the same super-network and step but for the fields in APART.
    """
    problems: dict[str, int] = {}
    searches = []
    for key in dict.fromkeys(key for variant in run["variants"] for key in variant["chain"]):
        path = _charted(store, key, "records.json")
        if not isinstance(path, Path):
            continue
        record = store.record(key)
        step = record["step"]
        settings = ", ".join(f"{name}={value}" for name, value in step.get("options", {}).items())
        shared = json.dumps([record["parent"], {name: step[name] for name in step if name not in APART}])
        searches.append(
            {
                "name": step["searcher"]
                + (f"({settings})" if settings else "")
                + (" in stages" if step["staged"] else ""),
                "problem": problems.setdefault(shared, len(problems)),
                "limit": step["evaluations"],
                "evaluations": record["result"]["evaluations"],
                **json.loads(path.read_text()),
            }
        )
    return searches
