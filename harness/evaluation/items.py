"""Items as scored: what is kept of every one of them, and every metric computed from that alone. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

SCHEMA = pa.schema(
    {
        "task": pa.string(),
        "part": pa.string(),  # the lm-eval task inside a group, such as mmlu_anatomy in mmlu; else equal to task
        "doc_id": pa.int64(),
        "item": pa.string(),  # hash of prompt, choices and target: equal items have equal hashes
        "cluster": pa.string(),  # hash of the question, passage or subject that several items may share
        "question": pa.string(),
        "choices": pa.list_(pa.string()),
        "loglikelihoods": pa.list_(pa.float64()),
        "greedy": pa.list_(pa.bool_()),  # whether greedy decoding would say exactly this
        "lengths": pa.list_(pa.int64()),  # characters, by which lm-eval normalises acc_norm
        "byte_lengths": pa.list_(pa.int64()),
        "prediction": pa.int64(),
        "prediction_norm": pa.int64(),
        "target": pa.int64(),
        "labels": pa.list_(pa.int64()),  # truthfulqa_mc2: 1 for each true choice
        "response": pa.string(),  # generated text
        "loss": pa.float64(),  # running text: negative log-likelihood in nats
        "units": pa.float64(),  # and the words or tokens it is divided by
        "metrics": pa.list_(pa.struct({"name": pa.string(), "value": pa.float64()})),  # as lm-eval's task judged it
    }
)
EMPTY: dict[str, Any] = {name: None for name in SCHEMA.names}
LN2 = float(np.log(2.0))


def digest(*parts: Any) -> str:
    """Return 16 hex digits for the parts."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:16]


def choice_item(
    task: str,
    sample: dict[str, Any],
    *,
    choices: list[str],
    target: int,
    question: str,
    labels: list[int] | None = None,
    part: str | None = None,
    cluster: str | None = None,
) -> dict[str, Any]:
    """Return the row of a multiple-choice sample as lm-eval logged it; items of one `cluster` (or question) are correlated."""
    responses = sample["filtered_resps"][: len(sample["arguments"])]
    likelihoods = [float(response[0]) for response in responses]
    lengths = [len(choice) for choice in choices]
    return EMPTY | {
        "task": task,
        "part": part or task,
        "doc_id": sample["doc_id"],
        "item": digest([list(map(str, argument)) for argument in sample["arguments"]], target),
        "cluster": digest(cluster if cluster is not None else question),
        "question": question,
        "choices": choices,
        "loglikelihoods": likelihoods,
        "greedy": [bool(response[1]) for response in responses],
        "lengths": lengths,
        "byte_lengths": [len(choice.encode()) for choice in choices],
        "prediction": int(np.argmax(likelihoods)),
        "prediction_norm": int(np.argmax(np.array(likelihoods) / np.array(lengths, dtype=float))),
        "target": target,
        "labels": labels,
    }


def loss_item(task: str, index: int, item: str, loss: float, units: float, **more: Any) -> dict[str, Any]:
    """Return the row of a page or window of running text."""
    base = {"task": task, "part": task, "doc_id": index, "item": item, "cluster": item}
    return EMPTY | base | {"loss": loss, "units": units} | more


def is_loss(metric: str) -> bool:
    """Tell whether a smaller value is better; such metrics stay out of accuracy averages."""
    return metric.endswith("perplexity") or metric == "bits_per_byte"


def value(row: dict[str, Any], metric: str) -> float:
    """Return one item's share in `metric`: 0 or 1 for accuracies, nats for losses; KeyError where the row has no such metric.

    truthfulqa_mc2's acc is the probability mass on true choices (Lin et al., arXiv 2109.07958); of a task that
    scores one given answer (lambada), acc says whether greedy decoding gives it.
    """
    if is_loss(metric):
        return float(row["loss"])
    if metric == "acc_norm" and row["prediction_norm"] is not None:
        return float(row["prediction_norm"] == row["target"])
    if metric == "acc" and row.get("labels"):
        return _mass(row["loglikelihoods"], row["labels"])
    if metric == "acc" and row["prediction"] is not None:
        return float(row["prediction"] == row["target"])
    judged = {pair["name"]: pair["value"] for pair in row.get("metrics") or []}
    if metric == "acc" and metric not in judged and row.get("greedy"):
        return float(row["greedy"][0])
    return float(judged[metric])


def _mass(likelihoods: Sequence[float], labels: Sequence[int]) -> float:
    weights = np.exp(np.array(likelihoods) - max(likelihoods))
    return float(weights[np.array(labels) == 1].sum() / weights.sum())


def units(row: dict[str, Any], metric: str) -> float:
    """Return what the item's loss is divided by: words or tokens, or bytes for the byte metrics; 1 for accuracies."""
    if not is_loss(metric):
        return 1.0
    return float(row["byte_lengths"][0] if metric in ("byte_perplexity", "bits_per_byte") else row["units"])


def aggregate(values: np.ndarray, weights: np.ndarray, metric: str) -> float:
    """Return the task's metric from its items' values (n,) and units (n,)."""
    mean = float(values.sum() / weights.sum())
    if metric == "bits_per_byte":
        return mean / LN2
    return float(np.exp(mean)) if is_loss(metric) else mean


def present(row: dict[str, Any]) -> list[str]:
    """Return the metrics that a task's rows hold, most basic first."""
    names = (
        []
        if row["loss"] is None
        else ["word_perplexity", "byte_perplexity", "bits_per_byte", "token_perplexity", "perplexity"]
    )
    if row["prediction"] is not None:
        names += ["acc"] if row.get("labels") else ["acc", "acc_norm"]
    elif row.get("greedy"):
        names += ["acc"]
    return names + [pair["name"] for pair in row.get("metrics") or [] if pair["name"] not in names]


def scores(rows: list[dict[str, Any]], metric: str) -> dict[str, float]:
    """Return the metrics of one task, recomputed from its items.

    Of accuracies also the standard errors and `stderr`, that of the headline `metric`, clustered where items share a
    passage or subject (Miller, arXiv 2411.00640, eq. 4).
    """
    if is_loss(metric):
        losses, parts = np.array([(value(row, metric), units(row, metric)) for row in rows]).T
        found = {metric: aggregate(losses, parts, metric), "n": len(rows)}
        return found | ({"acc": float(np.mean([value(row, "acc") for row in rows]))} if rows[0].get("greedy") else {})
    clusters = [row["cluster"] for row in rows]
    found = {"n": len(rows)}
    for name in dict.fromkeys([metric, *(name for name in present(rows[0]) if not is_loss(name))]):
        values = np.array([value(row, name) for row in rows])
        found |= {name: float(values.mean()), f"{name}_stderr": clustered_stderr(values, clusters)}
    return found | {"stderr": found[f"{metric}_stderr"]}


def clustered_stderr(values: np.ndarray, clusters: Sequence[str]) -> float:
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
