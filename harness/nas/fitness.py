"""What candidates are scored on.

Items of the search split or calibration text, packed once, in nested chunks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.data import overlap
from harness.data import tasks as data
from harness.nas.architecture import Architecture
from harness.nas.tally import Item, Tally, tally
from harness.spec import TaskSpec

if TYPE_CHECKING:
    from harness.nas.population import Judge
    from harness.nas.supernet import Elastic

ITEMS = frozenset({"choice_error", "answer_loss", "accuracy"})
STAGES = (1 / 16, 1 / 4, 1.0)  # shares of the search set at which its chunks end


@dataclass(frozen=True)
class Chunk:
    """Requests that are packed together, and how their numbers add up."""

    batches: list[Any]
    count: int
    total: Callable[[np.ndarray], Tally]
    measures: frozenset[str]
    judge: Judge | None = None  # None: log-likelihoods

    @property
    def weight(self) -> int:
        """Return the tokens that one candidate reads."""
        return sum(batch.ids.numel() for batch in self.batches)

    def score(self, elastic: Elastic, architectures: Sequence[Architecture]) -> Iterator[tuple[Architecture, Tally]]:
        """Yield each distinct candidate with its tally as it is done."""
        from harness.nas.population import score_population

        sums = score_population(elastic, self.batches, self.count, architectures, judge=self.judge)
        for architecture, totals in sums:
            yield architecture, self.total(totals.numpy())


@dataclass(frozen=True)
class Questions:
    """Items with the requests that they refer to."""

    requests: list[Any]
    items: list[Item]

    def chunk(self, chosen: Sequence[Item], model: Any, *, dense: Any = None) -> Chunk:
        """Return some of the items, packed on their own.

        `dense`, as it is now, is what predictions are compared with.
        """
        from harness.evaluation.batches import pack
        from harness.nas.divergence import Divergence
        from harness.nas.population import longest_chain

        requests: list[Any] = []
        renumbered = []
        for item in chosen:
            places = tuple(range(len(requests), len(requests) + len(item.requests)))
            requests += [self.requests[index] for index in item.requests]
            renumbered.append(replace(item, requests=places))
        batches = pack(requests, chain=longest_chain(model))
        if dense is None:
            return Chunk(batches, len(requests), lambda likelihoods: tally(renumbered, likelihoods), ITEMS)
        judge = Divergence(dense, model, batches)
        total = partial(_taught, renumbered)
        return Chunk(batches, len(requests), total, ITEMS | {"answer_kl"}, judge)


def _taught(items: Sequence[Item], sums: np.ndarray) -> Tally:
    return tally(items, sums[:, 0], sums[:, 1])


def edges(count: int, ends: Sequence[float]) -> list[int]:
    """Return where parts of `count` things begin and end.

    Each has one at least, as long as there are enough.
    """
    return [0, *(max(position + 1, round(end * count)) for position, end in enumerate(ends))]


def stages(items: Sequence[Item], ends: Sequence[float] = STAGES) -> list[list[Item]]:
    """Return the items in parts that end at `ends` of each task's items.

    Every part holds every task, where it has enough.
    """
    parts: list[list[Item]] = [[] for _ in ends]
    by_task: dict[str, list[Item]] = {}
    for item in items:
        by_task.setdefault(item.task, []).append(item)
    for task_items in by_task.values():
        for part, (start, stop) in zip(parts, pairwise(edges(len(task_items), ends)), strict=True):
            part += task_items[start:stop]
    return [part for part in parts if part]


def load_items(
    search: tuple[TaskSpec, ...],
    report: tuple[TaskSpec, ...],
    tokenizer: Any,
    model: Any,
    scratch: Path,
    *,
    limit: int,
    held_out: int,
    seed: int,
) -> tuple[Questions, Questions]:
    """Return `limit` seeded items of each search task that has training items.

    And up to `held_out` others of each.

    None of their questions is reported on. A group's items are taken from its parts in equal numbers.
    """
    from harness.evaluation.lm import TreeLM

    usable = tuple(spec for spec in search if data.searchable(spec))
    if not usable:
        raise ValueError(
            "no task of this suite has training items, so a search has nothing to score; name tasks that do in the suite's `search`"
        )
    reported = reported_questions(report, scratch)
    lm = TreeLM(model, tokenizer)
    sides = Questions([], []), Questions([], [])
    for name, parts in data.load(usable, scratch, "search").items():
        share, spare = -(-limit // len(parts)), -(-held_out // len(parts))
        for task in parts.values():
            drawn_items = drawn(task, reported, share + spare, seed)
            for side, chosen in zip(sides, (drawn_items[:share], drawn_items[share:]), strict=True):
                if chosen:
                    _add(side, name, task, chosen, lm)
    return sides


def drawn(task: Any, reported: frozenset[str], count: int, seed: int) -> list[int]:
    """Return the places of `count` seeded documents of a task, none of whose questions is in `reported`."""

    fresh = [
        index
        for index, document in enumerate(task.eval_docs)
        if not reported & set(map(overlap.digest, overlap.forms(task, document)))
    ]
    return [fresh[index] for index in np.random.default_rng(seed).permutation(len(fresh))[:count]]


def _add(side: Questions, name: str, task: Any, chosen: list[int], lm: Any) -> None:
    """Append the items of a task whose documents are `chosen`, in that order (lm-eval numbers them by it)."""
    task.build_all_requests(samples=chosen)
    by_document: dict[int, list[Any]] = {}
    for instance in task.instances:
        by_document.setdefault(instance.doc_id, []).append(instance)
    for _, instances in sorted(by_document.items()):
        document = instances[0].doc
        places = []
        for instance in sorted(instances, key=lambda each: each.idx):
            places.append(len(side.requests))
            side.requests.append(_request(lm, instance.args))
        texts = (
            [str(instance.args[1]) for instance in instances]
            if task.multiple_input
            else list(task.doc_to_choice(document))
        )
        answer = task.doc_to_text(document) if task.multiple_input else task.doc_to_target(document)
        answer = texts.index(answer) if isinstance(answer, str) and not answer.isdigit() else int(answer)
        lengths = np.array([len(text) for text in texts], dtype=float)
        tokens = sum(len(side.requests[place].continuation) for place in places)
        side.items.append(Item(name, tuple(places), lengths, answer, tokens))


def _request(lm: Any, arguments: tuple[str, str]) -> Any:
    from harness.evaluation.lm import cut

    context, continuation = lm._encode_pair(*arguments)
    return cut(context, continuation, lm.max_length)


def reported_questions(report: tuple[TaskSpec, ...], scratch: Path) -> frozenset[str]:
    """Return hashes of the questions of every reported item."""

    scored = tuple(spec for spec in report if data.asks(spec))
    if not scored:
        return frozenset()
    loaded = data.load(scored, scratch, "report")
    return frozenset(
        overlap.digest(words)
        for parts in loaded.values()
        for task in parts.values()
        for words in overlap.questions(task)
    )
