"""Items as scored: what is kept of every one of them, and the metrics computed from that alone."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import numpy as np
import pyarrow as pa

SCHEMA = pa.schema(
    {
        "task": pa.string(),
        "doc_id": pa.int64(),
        "item": pa.string(),  # hash of prompt, choices and target: equal items have equal hashes
        "cluster": pa.string(),  # hash of the question or passage that several items may share
        "loglikelihoods": pa.list_(pa.float64()),
        "lengths": pa.list_(pa.int64()),  # characters, by which lm-eval normalises acc_norm
        "byte_lengths": pa.list_(pa.int64()),
        "prediction": pa.int64(),
        "prediction_norm": pa.int64(),
        "target": pa.int64(),
        "loss": pa.float64(),  # perplexity tasks: negative log-likelihood in nats
        "units": pa.float64(),  # and the words or tokens it is divided by
    }
)


def digest(*parts: Any) -> str:
    """Return 16 hex digits for the parts."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:16]


def choice_item(task: str, sample: dict[str, Any], *, choices: list[str], target: int, cluster: str) -> dict[str, Any]:
    """Return the row of a multiple-choice sample as lm-eval logged it."""
    likelihoods = [float(response[0]) for response in sample["filtered_resps"]][: len(sample["arguments"])]
    lengths = [len(choice) for choice in choices]
    return {
        "task": task,
        "doc_id": sample["doc_id"],
        "item": digest([list(map(str, argument)) for argument in sample["arguments"]], target),
        "cluster": digest(cluster),
        "loglikelihoods": likelihoods,
        "lengths": lengths,
        "byte_lengths": [len(choice.encode()) for choice in choices],
        "prediction": int(np.argmax(likelihoods)),
        "prediction_norm": int(np.argmax(np.array(likelihoods) / np.array(lengths, dtype=float))),
        "target": target,
        "loss": None,
        "units": None,
    }


def loss_item(task: str, index: int, item: str, loss: float, units: float) -> dict[str, Any]:
    """Return the row of a page or window of running text."""
    empty = {name: None for name in SCHEMA.names}
    return {**empty, "task": task, "doc_id": index, "item": item, "cluster": item, "loss": loss, "units": units}


def scores(rows: list[dict[str, Any]], metric: str) -> dict[str, float]:
    """Return the metrics of one task, recomputed from its items.

    `acc`, `acc_norm` and their `stderr` (of the headline `metric`), clustered where items share a passage
    (Miller, arXiv 2411.00640, eq. 4); or the perplexity.
    """
    if metric.endswith("perplexity"):
        loss, units = (sum(row[name] for row in rows) for name in ("loss", "units"))
        return {metric: float(np.exp(loss / units)), "n": len(rows)}
    right = {
        "acc": np.array([row["prediction"] == row["target"] for row in rows], dtype=float),
        "acc_norm": np.array([row["prediction_norm"] == row["target"] for row in rows], dtype=float),
    }
    clusters = [row["cluster"] for row in rows]
    found = {name: float(values.mean()) for name, values in right.items()}
    errors = {f"{name}_stderr": clustered_stderr(values, clusters) for name, values in right.items()}
    return {**found, **errors, "stderr": errors[f"{metric}_stderr"], "n": len(rows)}


def clustered_stderr(values: np.ndarray, clusters: list[str]) -> float:
    """Return the standard error of the mean of `values` (n,) with correlated items inside a cluster.

    With singleton clusters this is the usual sample standard error, s / sqrt(n) with n - 1 in s.
    """
    count = len(values)
    if count < 2:
        return 0.0
    _, index = np.unique(np.array(clusters), return_inverse=True)
    sums = np.bincount(index, weights=values - values.mean())
    groups = len(sums)
    if groups < 2:
        return 0.0
    return float(np.sqrt((sums**2).sum() * groups / (groups - 1)) / count)
