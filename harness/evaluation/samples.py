"""From the samples that lm-eval logs to rows of items."""

from __future__ import annotations

from typing import Any

import numpy as np

from harness.data.targets import SEVERAL, gold
from harness.data.tasks import query
from harness.evaluation.items import EMPTY, choice_item, digest, loss_item, value
from harness.quantities import METRICS


def rows(
    name: str, parts: dict[str, Any], samples: dict[str, list[dict[str, Any]]], wanted: str = ""
) -> list[dict[str, Any]]:
    """Return the rows of task `name`, whose `parts` (lm-eval tasks by name) were scored.

    Of several filters `wanted` counts, without one the first, as the plan says.
    """
    table = []
    for part, task in parts.items():
        chosen = wanted or (samples[part][0]["filter"] if samples[part] else None)
        for sample in samples[part]:
            if sample["filter"] == chosen:
                row = _row(task, name, sample)
                table.append(row | {"part": part, "cluster": digest(part) if len(parts) > 1 else row["cluster"]})
    return table


def _row(task: Any, name: str, sample: dict[str, Any]) -> dict[str, Any]:
    kind = task.OUTPUT_TYPE
    if kind == "loglikelihood_rolling":
        return _running_text(task, name, sample)
    judged = [
        {"name": metric, "value": float(sample[metric])}
        for metric in sample["metrics"]
        if isinstance(sample[metric], int | float | np.number | np.bool_)
    ]
    if kind == "multiple_choice":
        return _choice(task, name, sample, judged)
    target = sample["target"]
    row = EMPTY | {
        "task": name,
        "doc_id": sample["doc_id"],
        "item": digest([list(map(str, argument)) for argument in sample["arguments"]], target),
        "cluster": digest(query(task, sample["doc"])),
        "question": _asked(task, sample),
        "metrics": judged,
    }
    if kind == "loglikelihood":
        likelihood, greedy = sample["filtered_resps"][0]
        words = str(sample["arguments"][0][1])
        return row | {
            "choices": [words],
            "loglikelihoods": [float(likelihood)],
            "greedy": [bool(greedy)],
            "lengths": [len(words)],
            "byte_lengths": [len(words.encode())],
            "loss": -float(likelihood),
            "units": 1.0,
        }
    return row | {"response": str(sample["filtered_resps"][0]), "choices": [str(target)]}


def _running_text(task: Any, name: str, sample: dict[str, Any]) -> dict[str, Any]:
    text = str(task.doc_to_target(sample["doc"]))
    likelihood = float(sample["filtered_resps"][0])
    words = sample["word_perplexity"][1] if "word_perplexity" in sample else len(text.split())
    count = sample["byte_perplexity"][1] if "byte_perplexity" in sample else len(text.encode())
    shown = {"question": text[:200], "byte_lengths": [int(count)]}
    return loss_item(name, sample["doc_id"], digest(sample["arguments"]), -likelihood, float(words), **shown)


def _choice(task: Any, name: str, sample: dict[str, Any], judged: list[dict[str, Any]]) -> dict[str, Any]:
    document = sample["doc"]
    truth = document.get("mc2_targets") if task.config.task.startswith("truthfulqa_mc2") else None
    target = gold(task, document)
    row = choice_item(
        name,
        sample,
        choices=_choices(task, sample),
        target=target,
        question=_asked(task, sample),
        cluster=query(task, document),
        labels=list(truth["labels"]) if truth else None,
    )
    row["metrics"] = judged
    if task.multiple_input:
        row["choices"] = [str(context) for context in task.doc_to_choice(document)]  # these differ, to be shown
    own = {pair["name"]: pair["value"] for pair in judged if pair["name"] in ("acc", "acc_norm")}
    if target == SEVERAL or any(abs(value(row, METRICS[metric]) - stated) > 1e-9 for metric, stated in own.items()):
        return row | {
            "prediction": None,
            "prediction_norm": None,
        }  # the task judges in a way of its own: its word counts
    return row


def _asked(task: Any, sample: dict[str, Any]) -> str:
    """Return the item as it was put to the model, without examples ahead of it.

    Boolq's passage and its question.
    """
    text = task.doc_to_text(sample["doc"])
    return text if isinstance(text, str) and text else query(task, sample["doc"])


def _choices(task: Any, sample: dict[str, Any]) -> list[str]:
    if task.multiple_input:  # winogrande: the choices are contexts, the scored text is the same
        return [str(argument[1]) for argument in sample["arguments"]]
    return list(task.doc_to_choice(sample["doc"]))
