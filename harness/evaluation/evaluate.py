"""The step that scores a checkpoint on a suite and keeps every item."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, ClassVar, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from harness import progress
from harness.data import tasks
from harness.data.definitions import parts
from harness.data.text import running_text
from harness.evaluation.journal import Journal
from harness.runtimes.all_runtimes import runtime
from harness.runtimes.runtime import TORCH
from harness.spec import Cost, Step, TaskSpec, Work

TOKENS_PER_ITEM = 90  # of a multiple-choice item, shared prefixes once, for the estimate
TOKENS_PER_PAGE = 4500
PAGES = ("token_perplexity", "word_perplexity", "byte_perplexity", "bits_per_byte")  # metrics of running text


class Evaluate(Step):
    """Score `tasks` on their report split, the first `limit` items each, as lm-eval orders them.

    Of a group: of each of its tasks.

    Answers are kept in scratch batch by batch, so a killed evaluation goes on at the item where it stopped. The packed scorer
    proves itself on the model first; where it cannot, lm-eval's own scores instead, and the result says so and why.
    """

    KIND = "evaluate"
    VERSION = 3  # 3: families that the packed scorer computes wrongly are scored by lm-eval's
    UNKEYED: ClassVar[frozenset[str]] = frozenset({"batch_tokens"})
    LATER: ClassVar[frozenset[str]] = frozenset({"runtime"})
    tasks: tuple[TaskSpec, ...]
    limit: int | None = None
    scorer: Literal["tree", "hflm"] = "tree"
    batch_tokens: int = 2048
    runtime: str = "torch"  # another one: the weights are those of its artifact

    def cost(self) -> Cost:

        tokens = 0
        for spec in self.tasks:
            items = min(spec.source.rows, (self.limit or spec.source.rows) * len(parts(spec.source)))
            tokens += items * (TOKENS_PER_PAGE if spec.metric in PAGES else TOKENS_PER_ITEM)
        return Cost(forward_tokens=tokens, seconds=6)

    def run(self, work: Work) -> None:
        from harness.evaluation.items import SCHEMA, scores
        from harness.models import checkpoint

        source = work.checkpoint()
        model, tokenizer = checkpoint.load(source, work.device), checkpoint.load_tokenizer(source)
        if self.runtime != TORCH:
            model = runtime(self.runtime).restored(work.artifact(), model)
        journal = Journal(work.scratch / "answers.jsonl")
        used, proof = proven(self.scorer, model)
        scorer = _scorer(used, model, tokenizer, self.batch_tokens, journal)
        loaded = tasks.load(tuple(spec for spec in self.tasks if not token_level(spec)), work.scratch)
        tables, results, cuts = [], {}, {}
        for done, spec in enumerate(self.tasks):
            before = scorer.cut_requests
            with progress.within(done / len(self.tasks), (done + 1) / len(self.tasks), spec.name):
                rows = (
                    _windows(spec, tokenizer, scorer, self.limit)
                    if token_level(spec)
                    else lm_eval_rows(spec.name, loaded[spec.name], scorer, self.limit, spec.filter)
                )
            tables.append(pa.Table.from_pylist(rows, schema=SCHEMA))
            cuts[spec.name] = scorer.cut_requests - before
            results[spec.name] = scores(tables[-1].to_pylist(), spec.quantity, spec.others)
        progress.report(1.0)
        pq.write_table(pa.concat_tables(tables), work.draft / "items.parquet")
        work.result |= {
            "tasks": results,
            "scorer": {"asked": self.scorer, "used": used, **proof},
            "reads": scorer.max_length,  # tokens, the longest request
            "cut": {name: count for name, count in cuts.items() if count},  # requests that were longer
            "windows": {
                spec.name: spec.window for spec in self.tasks if token_level(spec) and spec.window > scorer.max_length
            },
        }


def token_level(spec: TaskSpec) -> bool:
    return spec.metric == "token_perplexity"


def _scorer(name: str, model: Any, tokenizer: Any, batch_tokens: int, journal: Any) -> Any:
    from harness.evaluation.lm import StockLM, TreeLM

    if name == "hflm":
        return StockLM(model, tokenizer, journal=journal)
    return TreeLM(model, tokenizer, batch_tokens=batch_tokens, journal=journal)


def lm_eval_rows(
    name: str, parts: dict[str, Any], scorer: Any, limit: int | None, wanted: str = ""
) -> list[dict[str, Any]]:
    """Return the rows of a task that lm-eval asks, filters and judges and `scorer` answers.

    Of a group: of its tasks.
    """
    from lm_eval.evaluator import evaluate

    from harness.evaluation.samples import rows

    results = evaluate(scorer, {"tasks": parts}, limit=limit, bootstrap_iters=0, log_samples=True)
    return rows(name, parts, results["samples"], wanted)


def proven(asked: str, model: Any) -> tuple[str, dict[str, Any]]:
    """Return the scorer to use and the proof's figures.

    It is lm-eval's own where the packed one does not agree with the model.
    """

    from harness.evaluation.proof import prove

    if asked != "tree":
        return asked, {}
    proof = prove(model)
    return ("tree" if proof.holds else "hflm"), asdict(proof)


def _windows(spec: TaskSpec, tokenizer: Any, scorer: Any, limit: int | None) -> list[dict[str, Any]]:
    from harness.evaluation.items import digest, loss_item
    from harness.evaluation.perplexity import windows

    length = min(spec.window, scorer.max_length)
    requests = windows(running_text(spec.source), tokenizer, length)[:limit]
    answers = scorer.answers(requests)
    return [
        loss_item(spec.name, index, digest(request.inputs), -answers[index][0], float(len(request.continuation)))
        for index, request in enumerate(requests)
    ]
