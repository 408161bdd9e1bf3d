"""The step that searches a super-network.

One searcher, one objective against one cost, every candidate recorded.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np
from pydantic import Field, field_validator

from harness import progress
from harness.data import tasks as data
from harness.evaluation.fronts import front
from harness.nas.fitness import load_items, stages
from harness.nas.records import Records
from harness.nas.searchers.all_searchers import searcher
from harness.nas.settings import SearchSettings
from harness.nas.space import CostKind, Space
from harness.nas.spaces import axes
from harness.nas.tally import TAUGHT, TEXT, mean, merged
from harness.spec import CalibrationSpec, Cost, Step, TaskSpec, Work

if TYPE_CHECKING:
    from harness.nas.fitness import Chunk
    from harness.nas.oracle import Candidate, Oracle

TOKENS_PER_ITEM = 60
CHECKED = 1 / 8  # of the evaluations, candidates scored on held-out items beside the front


class Search(SearchSettings, Step):
    """Minimise (`objective`, `cost`) over the sub-networks of `space`.

    Their sizes lie between `lowest` and `highest`.

    `evaluations` counts passes of one candidate over the whole search set. The objective is a mean over search tasks, over
    `only` where it is not empty, or over text. The same seeds ask for the same candidates and scored ones are
    read back, so a killed search goes on where it stopped.
    """

    KIND = "search"
    VERSION: ClassVar[int] = 4  # 3: spaces, searchers, costs and stages; 4: seeds at round sizes
    tasks: tuple[TaskSpec, ...]
    report_tasks: tuple[TaskSpec, ...]
    text: CalibrationSpec  # for objectives over text: the first half is searched on, the second held out
    items: Annotated[int, Field(gt=0)]  # of each search task
    cost_kind: CostKind = "parameters"
    highest: Annotated[float, Field(gt=0, le=1)] = 1.0
    seed: int = 0  # of the items

    @field_validator("space")
    @classmethod
    def _space_is_known(cls, value: str) -> str:
        axes(value)
        return value

    def title(self) -> str:
        return f"search by {self.searcher}, {self.evaluations} evaluations"

    def cost(self) -> Cost:
        tokens = self.text.tokens / 2 if self.objective in TEXT else self.items * len(self.tasks) * TOKENS_PER_ITEM
        return Cost(forward_tokens=0.8 * self.evaluations * tokens, seconds=12)

    def run(self, work: Work) -> None:
        from harness.nas.oracle import Oracle, drive
        from harness.nas.supernet import Elastic

        chosen = searcher(self.searcher, self.options)
        model, space, chunks, held_out = prepare(work, self)
        with Elastic(model) as elastic:
            oracle = Oracle(
                space,
                chunks,
                [chunk.weight for chunk in chunks],
                elastic,
                Records(work.scratch / "records.jsonl"),
                objective=self.objective,
                evaluations=self.evaluations,
                staged=self.staged,
                latency=_stopwatch(elastic, space) if self.cost_kind == "latency" else None,
            )
            drive(chosen, oracle, np.random.default_rng(self.search_seed))
            records = [_plain(candidate, oracle) for candidate in oracle.candidates.values() if candidate.stage >= 0]
            self._check(oracle, held_out, records)
        facts = {
            "searcher": self.searcher,
            "space": self.space,
            "objective": self.objective,
            "cost": self.cost_kind,
            "reference": None if oracle.reference is None else oracle.reference.tolist(),
            "search_seed": self.search_seed,
            "candidates": records,
        }
        (work.draft / "records.json").write_text(json.dumps(facts))
        work.result |= {"evaluations": oracle.spent, "candidates": len(records)}

    def _check(self, oracle: Oracle, held_out: list[Chunk], records: list[dict[str, Any]]) -> None:
        """Score the front and an even sample of the others on items and text that the search did not see."""

        candidates, values = oracle.objectives()
        if not candidates:
            return
        best = set(np.flatnonzero(front(values)).tolist())
        others = [index for index in np.argsort(values[:, 1], kind="stable").tolist() if index not in best]
        spread = others[:: max(1, len(others) // max(1, round(CHECKED * self.evaluations)))]
        chosen = [candidates[index].architecture for index in sorted(best | set(spread))]
        by_name = {json.dumps(record["architecture"]): record for record in records}
        for part in held_out:
            for index, (one, total) in enumerate(part.score(oracle.elastic, chosen)):
                measures = next(iter(total.values())).keys() - {"n"}
                losses = by_name[json.dumps(one.plain())].setdefault("held_out", {})
                losses |= {name: mean(total, name) for name in sorted(measures)}
                progress.report((index + 1) / len(chosen), f"held-out items {index + 1}/{len(chosen)}")


def _plain(candidate: Candidate, oracle: Oracle) -> dict[str, Any]:

    tallies = oracle.records.get(candidate.architecture).tallies
    total = merged([tallies[index] for index in range(candidate.stage + 1)])
    measures = sorted({name for sums in total.values() for name in sums} - {"n"})
    return {
        "architecture": candidate.architecture.plain(),
        "parameters": oracle.space.body.parameters(candidate.architecture),
        "size": candidate.size,
        "cost": candidate.cost,
        "fitness": oracle.fitness(candidate.architecture, candidate.stage),
        "whole": candidate.stage == len(oracle.chunks) - 1,
        "seed": candidate.seed,
        "spent": candidate.spent,
        **{name: mean(total, name) for name in measures},
        "tasks": {task: {name: sums[name] / sums["n"] for name in measures} for task, sums in total.items()},
        **candidate.notes,
    }


def load(work: Work, name: str) -> tuple[Any, Any, Space]:
    """Return the super-network, its tokenizer and a space over it.

    ValueError where packed scores would be wrong ones.
    """
    from harness.evaluation.proof import prove
    from harness.models import checkpoint
    from harness.nas.supernet import body

    source = work.checkpoint()
    model, tokenizer = checkpoint.load(source, work.device), checkpoint.load_tokenizer(source)
    if not (proof := prove(model)).holds:
        raise ValueError(f"a search scores its candidates packed, which this model does not allow: {proof.why}")
    ranking = json.loads((source.parent / "order.json").read_text())["order"]
    return model, tokenizer, Space(body(model, ranking), axes(name))


def prepare(work: Work, step: Search) -> tuple[Any, Space, list[Chunk], list[Chunk]]:
    """Return the super-network, its space, the search set in chunks, and held-out items and text.

    As far as there are any.
    """

    from harness.data.calibration import draw
    from harness.nas.text_objective import chunks

    model, tokenizer, whole = load(work, step.space)
    space = replace(whole, lowest=step.lowest, highest=step.highest, cost=step.cost_kind)
    wanted = tuple(spec for spec in step.tasks if not step.only or spec.name in step.only)
    if step.only and len(wanted) < len(step.only):
        raise ValueError(f"only={list(step.only)} names no search task of {[spec.name for spec in step.tasks]}")
    dense = _dense(work, model) if step.objective in TAUGHT else None
    searched: list[Chunk] = []
    spare: list[Chunk] = []
    if step.objective in TEXT:
        windows = draw(step.text, tokenizer).tokens
        half = len(windows) // 2
        searched = chunks(model, windows[:half], step.objective, dense=dense)
        spare = chunks(model, windows[half:], step.objective, ends=(1.0,), dense=dense)
        if not any(map(data.searchable, wanted)):
            return model, space, searched, spare
    mine, others = load_items(
        wanted, step.report_tasks, tokenizer, model, work.scratch, limit=step.items, held_out=step.items, seed=step.seed
    )
    taught = None if step.objective in TEXT else dense
    if others.items:
        spare.append(others.chunk(others.items, model, dense=taught))
    return model, space, searched or [mine.chunk(part, model, dense=taught) for part in stages(mine.items)], spare


def _dense(work: Work, network: Any) -> Any:
    """Return the model from before the super-network was trained, loaded anew where it was.

    Until its predictions are kept.
    """
    from harness.models import checkpoint

    trained = json.loads((work.checkpoint().parent / "losses.json").read_text())
    return checkpoint.load(work.origin(), work.device) if trained else network


def _stopwatch(elastic: Any, space: Space) -> Any:
    """Return a function that measures a sub-network's latency as a share of the dense model's.

    The two alternate.
    """
    from harness.nas.latency import ratio

    return lambda architecture: ratio(elastic, architecture, space.full())
