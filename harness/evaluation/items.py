"""Items as scored: what is kept of every one of them, and every metric computed from that alone. Pure."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from harness.quantities import METRICS, Quantity, metric

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
    """Return the row of a multiple-choice sample as lm-eval logged it.

    Items of one `cluster` (or question) are correlated.
    """
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


def value(row: dict[str, Any], quantity: Quantity) -> float:
    """Return one item's share in a metric: 0 or 1 for accuracies, nats for losses.

    NaN where the row has no such metric.

    truthfulqa_mc2's acc is the probability mass on true choices (Lin et al., arXiv 2109.07958); of a task that
    scores one given answer (lambada), acc says whether greedy decoding gives it.
    """
    metric = quantity.key
    judged = {pair["name"]: pair["value"] for pair in row.get("metrics") or []}
    if quantity.lossy:
        return -float(judged[metric]) if metric in judged else _number(row["loss"])
    if metric == "acc_norm" and row["prediction_norm"] is not None:
        return float(row["prediction_norm"] == row["target"])
    if metric == "acc" and row.get("labels"):
        return _mass(row["loglikelihoods"], row["labels"])
    if metric == "acc" and row["prediction"] is not None:
        return float(row["prediction"] == row["target"])
    if metric == "acc" and metric not in judged and _one_answer(row):
        return float(row["greedy"][0])
    return _number(judged.get(metric))


def _one_answer(row: dict[str, Any]) -> bool:
    """Tell whether one given answer was scored, which greedy decoding says or does not."""
    return len(row.get("greedy") or ()) == 1


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)


def _mass(likelihoods: Sequence[float], labels: Sequence[int]) -> float:
    weights = np.exp(np.array(likelihoods) - max(likelihoods))
    return float(weights[np.array(labels) == 1].sum() / weights.sum())


def units(row: dict[str, Any], quantity: Quantity) -> float:
    """Return what the item's loss is divided by: words or tokens, or bytes for the byte metrics.

    1 for all but losses.
    """
    if not quantity.lossy or row["units"] is None:
        return 1.0
    by_bytes = quantity.key in ("byte_perplexity", "bits_per_byte")
    return float(row["byte_lengths"][0] if by_bytes else row["units"])


def aggregate(values: np.ndarray, weights: np.ndarray, quantity: Quantity) -> float:
    """Return the task's metric from its items' values (n,) and units (n,)."""
    mean = float(values.sum() / weights.sum())
    if quantity.kind == "bits":
        return mean / LN2
    return float(np.exp(mean)) if quantity.lossy else mean


def present(row: dict[str, Any]) -> list[str]:
    """Return the metrics that a task's rows hold, most basic first."""
    names = (
        []
        if row["loss"] is None
        else ["word_perplexity", "byte_perplexity", "bits_per_byte", "token_perplexity", "perplexity"]
    )
    if row["prediction"] is not None:
        names += ["acc"] if row.get("labels") else ["acc", "acc_norm"]
    elif _one_answer(row):
        names += ["acc"]
    return names + [pair["name"] for pair in row.get("metrics") or [] if pair["name"] not in names]


def having(rows: list[dict[str, Any]], quantity: Quantity) -> list[dict[str, Any]]:
    """Return the rows that the metric is made of.

    A task may judge some items only, and its mean is over those.
    """
    return [row for row in rows if not math.isnan(value(row, quantity))]


def scores(
    rows: list[dict[str, Any]], headline: Quantity, others: Mapping[str, Quantity] | None = None
) -> dict[str, float]:
    """Return the metrics of one task, recomputed from its items.

    Of `others` what its definition says beside the headline.

    Of means also the standard errors and `stderr`, that of the headline, clustered where items share a passage or
    subject (Miller, arXiv 2411.00640, eq. 4). `n` counts the items that the headline is made of.
    """
    if not (counted := having(rows, headline)):
        raise ValueError(f"{rows[0]['task']}: no item has the metric {headline.key}")
    by_name: dict[str, float] = {"n": len(counted)}
    if headline.lossy:
        losses, parts = np.array([(value(row, headline), units(row, headline)) for row in counted]).T
        by_name[headline.key] = aggregate(losses, parts, headline)
        return by_name | (
            {"acc": float(np.mean([value(row, METRICS["acc"]) for row in rows]))} if rows[0].get("greedy") else {}
        )
    names = dict.fromkeys([headline.key, *(name for row in rows for name in present(row))])
    for name in names:
        kind = headline if name == headline.key else (others or {}).get(name) or metric(name)
        if kind.lossy or not (some := having(rows, kind)):
            continue
        values = np.array([value(row, kind) for row in some])
        by_name |= {
            name: float(values.mean()),
            f"{name}_stderr": clustered_stderr(values, [row["cluster"] for row in some]),
        }
    return by_name | {"stderr": by_name[f"{headline.key}_stderr"]}


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
