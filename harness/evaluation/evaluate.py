"""The step that scores a checkpoint on a suite and keeps every item."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from harness.spec import Cost, Step, TaskSpec, Work

TOKENS_PER_ITEM = 90  # of a multiple-choice item, shared prefixes once, for the estimate
TOKENS_PER_PAGE = 4500


class Evaluate(Step):
    """Score `tasks` on their report split, the first `limit` items each, as lm-eval orders them.

    A finished task is kept in scratch, so a kill costs at most the task it was in.
    """

    KIND = "evaluate"
    UNKEYED: ClassVar[frozenset[str]] = frozenset({"batch_tokens"})
    tasks: tuple[TaskSpec, ...]
    limit: int | None = None
    scorer: Literal["tree", "hflm"] = "tree"
    batch_tokens: int = 2048

    def cost(self) -> Cost:
        tokens = 0
        for spec in self.tasks:
            items = min(spec.source.rows, self.limit or spec.source.rows)
            tokens += items * (TOKENS_PER_PAGE if spec.metric.endswith("perplexity") else TOKENS_PER_ITEM)
        return Cost(forward_tokens=tokens, seconds=6)

    def run(self, work: Work) -> None:
        from harness import progress
        from harness.data import tasks
        from harness.models import checkpoint

        source = work.checkpoint()
        model, tokenizer = checkpoint.load(source, work.device), checkpoint.load_tokenizer(source)
        scorer = _scorer(self.scorer, model, tokenizer, self.batch_tokens)
        loaded = tasks.load(tuple(spec for spec in self.tasks if not _token_level(spec)), work.scratch)
        results = {}
        for done, spec in enumerate(self.tasks):
            kept = work.scratch / f"{spec.name}.parquet"
            if not kept.is_file():
                progress.report(done / len(self.tasks), spec.name)
                rows = (
                    _windows(spec, model, tokenizer, self.limit)
                    if _token_level(spec)
                    else _lm_eval(spec, loaded[spec.name], scorer, self.limit)
                )
                _write(kept, rows)
            results[spec.name] = _scores(kept, spec.metric)
        progress.report(1.0)
        everything = pa.concat_tables([pq.read_table(work.scratch / f"{spec.name}.parquet") for spec in self.tasks])
        pq.write_table(everything, work.draft / "items.parquet")
        work.result |= {"tasks": results}


def _token_level(spec: TaskSpec) -> bool:
    return spec.metric == "token_perplexity"


def _scorer(name: str, model: Any, tokenizer: Any, batch_tokens: int) -> Any:
    from harness.evaluation.scorer import TreeLM, stock

    return stock(model, tokenizer) if name == "hflm" else TreeLM(model, tokenizer, batch_tokens=batch_tokens)


def _lm_eval(spec: TaskSpec, task: Any, scorer: Any, limit: int | None) -> list[dict[str, Any]]:
    from lm_eval.evaluator import evaluate

    from harness.data.tasks import query
    from harness.evaluation.items import choice_item, digest, loss_item

    found = evaluate(scorer, {"tasks": {spec.name: task}}, limit=limit, bootstrap_iters=0, log_samples=True)
    samples = found["samples"][spec.name]
    if task.OUTPUT_TYPE == "loglikelihood_rolling":
        return [
            loss_item(
                spec.name,
                sample["doc_id"],
                digest(sample["arguments"]),
                -sample["word_perplexity"][0],
                sample["word_perplexity"][1],
            )
            for sample in samples
        ]
    if task.OUTPUT_TYPE != "multiple_choice":
        raise ValueError(
            f"task {spec.name} has output type {task.OUTPUT_TYPE}; multiple_choice and loglikelihood_rolling are supported"
        )
    return [
        choice_item(
            spec.name,
            sample,
            choices=_choices(task, sample),
            target=_target(task, sample),
            cluster=query(task, sample["doc"]),
        )
        for sample in samples
    ]


def _choices(task: Any, sample: dict[str, Any]) -> list[str]:
    choices = task.doc_to_choice(sample["doc"])
    if task.multiple_input:  # winogrande: the choices are contexts, the scored text is the same
        return [str(argument[1]) for argument in sample["arguments"]]
    return list(choices)


def _target(task: Any, sample: dict[str, Any]) -> int:
    """Return the right choice's index; a task whose choices are contexts keeps it in doc_to_text."""
    target = task.doc_to_text(sample["doc"]) if task.multiple_input else sample["target"]
    return int(target) if not isinstance(target, str) or target.isdigit() else _choices(task, sample).index(target)


def _windows(spec: TaskSpec, model: Any, tokenizer: Any, limit: int | None) -> list[dict[str, Any]]:
    from harness.data.text import documents
    from harness.evaluation.items import digest, loss_item
    from harness.evaluation.perplexity import window_losses, windows

    length = min(spec.window, model.config.max_position_embeddings)
    requests = windows(documents(spec.source), tokenizer, length)[:limit]
    losses = window_losses(model, requests)
    return [
        loss_item(spec.name, index, digest(request.inputs), loss, len(request.continuation))
        for index, (request, loss) in enumerate(zip(requests, losses, strict=True))
    ]


def _write(path: Path, rows: list[dict[str, Any]]) -> None:
    from harness.evaluation.items import SCHEMA

    draft = path.with_suffix(".draft")
    pq.write_table(pa.Table.from_pylist(rows, schema=SCHEMA), draft)
    draft.replace(path)


def _scores(path: Path, metric: str) -> dict[str, float]:
    from harness.evaluation.items import scores

    return scores(pq.read_table(path).to_pylist(), metric)
