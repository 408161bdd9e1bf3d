"""Whether two runs may be compared at all.

The same dense model in the same precision, asked the same in the same way. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Run = Mapping[str, Any]
SHOWN = 12  # digits of a hash


def model(run: Run) -> str:
    """Return the dense model with what tells its weights apart; empty where the run does not say."""
    origin = run.get("origin") or {}
    name = run.get("config", {}).get("model", "")
    if not origin:
        return ""
    seed = f", seed {origin['seed']}" if "seed" in origin else ""
    return f"{name} ({origin['kind']} {origin['content'][:SHOWN]}{seed})"


def same_model(one: Run, other: Run) -> bool | None:
    """Tell whether both runs begin with the same weights, wherever they lay.

    None where one of them does not say.
    """
    if one.get("origin") and other.get("origin"):
        return bool(one["origin"] == other["origin"])
    first, second = (_imported(run) for run in (one, other))
    return True if first and first == second else None


def _imported(run: Run) -> str:
    """Return the key of the step that brought the dense model into the store."""
    chains = [variant["chain"] for variant in run.get("variants", []) if variant.get("chain")]
    return str(chains[0][0]) if chains else ""


def unlike(one: Run, other: Run) -> dict[str, str]:
    """Return what makes numbers of the two runs unlike: by what it is, both values in words."""
    differences = {}
    same = same_model(one, other)
    if same is False:
        differences["dense model"] = f"{model(one)} and {model(other)}"
    elif same is None and _imported(one) and _imported(other):
        differences["dense model"] = (
            "perhaps not the same: one of the runs, of an earlier version, did not record what its weights are"
        )
    pairs = {"dtype": [run.get("dtype") for run in (one, other)]}
    for name in ("limit", "scorer"):
        pairs[name] = [run.get("config", {}).get(name) for run in (one, other)]
    for task in {**one.get("metrics", {}), **other.get("metrics", {})}:
        if all(task in run.get("metrics", {}) for run in (one, other)):
            pairs[f"metric of {task}"] = [run["metrics"][task] for run in (one, other)]
    if not set(one.get("metrics", {})) & set(other.get("metrics", {})):
        pairs["suite"] = [run.get("config", {}).get("suite") for run in (one, other)]
    return differences | {name: f"{first} and {second}" for name, (first, second) in pairs.items() if first != second}
