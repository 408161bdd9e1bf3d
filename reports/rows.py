"""From the store to one row a variant and the facts about the run: everything a report shows is derived here."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from harness.evaluation.items import scores
from harness.store import RECORD, Store
from reports.averages import add_averages
from reports.method_fronts import method_fronts
from reports.variants import Facts, Row

# steps that are a variant's price
MADE = ("compress", "supernet", "search", "pick", "recover", "refit", "command", "recipe", "quantize")
APART = (
    "searcher",
    "options",
    "staged",
    "evaluations",
    "search_seed",
)  # fields in which comparable searches may differ
SPEEDS = {"prefill_b1": "prefill_ratio", "decode_b1": "decode_ratio"}


def read(run: dict[str, Any], store: Store) -> tuple[list[Row], Facts]:
    """Return the run's rows, dense first, and what a report says about it as a whole.

    A variant without its checkpoint or scores has a status and a reason.
    """
    found = [_row(variant, run, store) for variant in run["variants"]]
    draws = add_averages(found, [_items(variant, store) for variant in run["variants"]], run["metrics"])
    return found, _facts(run, store) | {"method_fronts": method_fronts(found, draws) if draws is not None else []}


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
        "tasks": [{"name": name, "metric": metric} for name, metric in run["metrics"].items()],
        "environment": run["environment"],
        "command": run["command"],
        "generated": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(run["started"] + run["seconds"])),
        "loss_curves": _curves(run, store),
        "searches": _searches(run, store),
    }


def _row(variant: dict[str, Any], run: dict[str, Any], store: Store) -> Row:
    row: Row = {name: variant[name] for name in ("method", "budget", "quantizer", "simulated", "recipe")}
    row |= {
        "variant": variant["name"],
        "checkpoint": str(store.folder(variant["chain"][-1]) / "checkpoint"),
        "status": "ok",
        "reason": "",
    }
    missing = [key for key in (*variant["chain"], *variant["measures"].values()) if not store.has(key)]
    if set(missing) & set(variant["measures"].values()):  # what was measured stands, even where weights are gone since
        failure = next((kept for key in missing if (kept := store.failure(key))), None)
        own = failure is not None and (failure["key"] in missing)
        skipped = next((run["skipped"][key] for key in missing if key in run["skipped"]), "")
        row["status"] = "failed" if own else "skipped"
        row["reason"] = failure["reason"] if failure else skipped or "not run yet"
        row["log"] = failure["log"] if failure else None
    made = [store.record(key) for key in variant["chain"] if (store.folder(key) / RECORD).is_file()]
    if len(made) == len(variant["chain"]):
        row |= _cost(made)
    measures = {kind: store.result(key) for kind, key in variant["measures"].items() if store.has(key)}
    row |= {name: value for name, value in measures.get("footprint", {}).items()}
    if "speed" in measures:
        row |= _speed(measures["speed"])
    if "evaluate" in measures:
        row |= {
            f"{task}.{name}": value
            for task, found in measures["evaluate"]["tasks"].items()
            for name, value in found.items()
        }
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


def _speed(result: dict[str, Any]) -> Row:
    row: Row = {"contended": result["contention"]["contended"], "contention": json.dumps(result["contention"])}
    for kind, found in result["ratios"].items():
        name = SPEEDS.get(kind) or kind.replace("_b", "_ratio_b")
        row |= {name: found["ratio"], f"{name}_low": found["low"], f"{name}_high": found["high"]}
        row[f"{kind}.tokens_per_second"] = found["tokens_per_second"]
        row[f"{kind}.p_value"] = found["p_value"]
    return row


def _items(variant: dict[str, Any], store: Store) -> list[dict[str, Any]]:
    key = variant["measures"].get("evaluate", "")
    return pq.read_table(store.folder(key) / "items.parquet").to_pylist() if key and store.has(key) else []


def recomputed(run: dict[str, Any], store: Store) -> dict[str, dict[str, dict[str, float]]]:
    """Return every variant's task metrics computed anew from its stored items."""
    result = {}
    for variant in run["variants"]:
        items = _items(variant, store)
        result[variant["name"]] = {
            name: scores([item for item in items if item["task"] == name], metric)
            for name, metric in run["metrics"].items()
            if items
        }
    return result


def _curves(run: dict[str, Any], store: Store) -> dict[str, Any]:
    """Return the losses of every training of the run, named for who used it; each training once."""
    users: dict[str, list[dict[str, Any]]] = {}
    for variant in run["variants"]:
        for key in variant["chain"]:
            if (store.folder(key) / "losses.json").is_file():
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
    """Return the records of every search of the run, each with its name, its limit, what it spent and its problem.

    Searches have the same `problem` where they have the same super-network and step but for the fields in APART.
    """
    problems: dict[str, int] = {}
    found = []
    for key in dict.fromkeys(key for variant in run["variants"] for key in variant["chain"]):
        path: Path = store.folder(key) / "records.json"
        if not path.is_file():
            continue
        record = store.record(key)
        step = record["step"]
        settings = ", ".join(f"{name}={value}" for name, value in step.get("options", {}).items())
        shared = json.dumps([record["parent"], {name: step[name] for name in step if name not in APART}])
        found.append(
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
    return found
