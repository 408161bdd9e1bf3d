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
    """Score `tasks` on their report split, the first `limit` items each (of a group: each of its tasks), as lm-eval orders them.

    Answers are kept in scratch batch by batch, so a killed evaluation goes on at the item where it stopped.
    """

    KIND = "evaluate"
    VERSION = 2
    UNKEYED: ClassVar[frozenset[str]] = frozenset({"batch_tokens"})
    tasks: tuple[TaskSpec, ...]
    limit: int | None = None
    scorer: Literal["tree", "hflm"] = "tree"
    batch_tokens: int = 2048

    def cost(self) -> Cost:
        from harness.data.definitions import parts

        tokens = 0
        for spec in self.tasks:
            items = min(spec.source.rows, (self.limit or spec.source.rows) * len(parts(spec.source)))
            tokens += items * (TOKENS_PER_PAGE if spec.metric.endswith("perplexity") else TOKENS_PER_ITEM)
        return Cost(forward_tokens=tokens, seconds=6)

    def run(self, work: Work) -> None:
        from harness import progress
        from harness.data import tasks
        from harness.evaluation.items import SCHEMA, scores
        from harness.evaluation.journal import Journal
        from harness.models import checkpoint

        source = work.checkpoint()
        model, tokenizer = checkpoint.load(source, work.device), checkpoint.load_tokenizer(source)
        journal = Journal(work.scratch / "answers.jsonl")
        scorer = _scorer(self.scorer, model, tokenizer, self.batch_tokens, journal)
        loaded = tasks.load(tuple(spec for spec in self.tasks if not token_level(spec)), work.scratch)
        results = {}
        for done, spec in enumerate(self.tasks):
            kept = work.scratch / f"{spec.name}.parquet"
            if not kept.is_file():
                with progress.within(done / len(self.tasks), (done + 1) / len(self.tasks), spec.name):
                    rows = (
                        _windows(spec, model, tokenizer, journal, limit=self.limit, batch_tokens=self.batch_tokens)
                        if token_level(spec)
                        else lm_eval_rows(spec.name, loaded[spec.name], scorer, self.limit)
                    )
                _write(kept, pa.Table.from_pylist(rows, schema=SCHEMA))
            results[spec.name] = scores(pq.read_table(kept).to_pylist(), spec.metric)
        progress.report(1.0)
        everything = pa.concat_tables([pq.read_table(work.scratch / f"{spec.name}.parquet") for spec in self.tasks])
        pq.write_table(everything, work.draft / "items.parquet")
        work.result |= {"tasks": results}


def token_level(spec: TaskSpec) -> bool:
    return spec.metric == "token_perplexity"


def _scorer(name: str, model: Any, tokenizer: Any, batch_tokens: int, journal: Any) -> Any:
    from harness.evaluation.lm import StockLM, TreeLM

    if name == "hflm":
        return StockLM(model, tokenizer, journal=journal)
    return TreeLM(model, tokenizer, batch_tokens=batch_tokens, journal=journal)


def lm_eval_rows(name: str, parts: dict[str, Any], scorer: Any, limit: int | None) -> list[dict[str, Any]]:
    """Return the rows of a task (or of the tasks of a group) that lm-eval asks and judges and `scorer` answers."""
    from lm_eval.evaluator import evaluate

    from harness.evaluation.samples import rows

    found = evaluate(scorer, {"tasks": parts}, limit=limit, bootstrap_iters=0, log_samples=True)
    return rows(name, parts, found["samples"])


def _windows(
    spec: TaskSpec, model: Any, tokenizer: Any, journal: Any, *, limit: int | None, batch_tokens: int
) -> list[dict[str, Any]]:
    from harness.data.text import documents
    from harness.evaluation.items import digest, loss_item
    from harness.evaluation.journal import request_key
    from harness.evaluation.lm import answer
    from harness.evaluation.perplexity import windows

    length = min(spec.window, model.config.max_position_embeddings)
    requests = windows(documents(spec.source), tokenizer, length)[:limit]
    keys = [request_key(request.context, request.continuation) for request in requests]
    new = {key: request for key, request in zip(keys, requests, strict=True) if key not in journal}
    answer(model, new, journal, batch_tokens=batch_tokens)
    return [
        loss_item(spec.name, index, digest(request.inputs), -journal[key][0], float(len(request.continuation)))
        for index, (key, request) in enumerate(zip(keys, requests, strict=True))
    ]


def _write(path: Path, table: pa.Table) -> None:
    draft = path.with_suffix(".draft")
    pq.write_table(table, draft)
    draft.replace(path)
