"""How good a sub-network is on the search split: items packed once, scored for every candidate in place."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from harness.nas.space import Architecture
from harness.spec import TaskSpec

if TYPE_CHECKING:
    from harness.nas.supernet import Elastic

Objective = Literal["choice_loss", "answer_loss", "accuracy"]


@dataclass(frozen=True)
class SearchSet:
    """Items of the search split: packed requests, and per item the choices' request indices, lengths and the answer."""

    batches: list[Any]
    count: int
    items: list[tuple[list[int], np.ndarray, int]]
    tasks: list[str]

    def score(
        self, elastic: Elastic, architectures: Sequence[Architecture], objective: Objective
    ) -> Iterator[tuple[Architecture, dict[str, float]]]:
        """Yield each distinct candidate with its objective (lower is better) as `fitness`, and the accuracy beside it."""
        from harness.nas.population import score_population

        for architecture, totals in score_population(elastic, self.batches, self.count, architectures):
            likelihoods = [totals[index].numpy() for index, _, _ in self.items]
            yield architecture, judge(likelihoods, self.items, self.tasks, objective)


def judge(
    likelihoods: Sequence[np.ndarray],
    items: Sequence[tuple[list[int], np.ndarray, int]],
    tasks: Sequence[str],
    objective: Objective,
) -> dict[str, float]:
    """Return fitness and length-normalised accuracy as means over tasks of means over items.

    choice_loss: -log softmax over the choices' log-likelihoods per character, scaled by the mean length;
    answer_loss: -log-likelihood per character of the right answer; accuracy: 1 - accuracy.
    """
    losses: dict[str, list[float]] = {}
    right: dict[str, list[float]] = {}
    for values, (_, lengths, answer), task in zip(likelihoods, items, tasks, strict=True):
        each = values / lengths
        if objective == "answer_loss":
            loss = -each[answer]
        else:
            scaled = each * lengths.mean()
            loss = float(np.logaddexp.reduce(scaled) - scaled[answer])
        hit = float(np.argmax(each) == answer)
        right.setdefault(task, []).append(hit)
        losses.setdefault(task, []).append(1 - hit if objective == "accuracy" else loss)
    mean = {
        name: float(np.mean([np.mean(values) for values in table.values()]))
        for name, table in (("fitness", losses), ("accuracy", right))
    }
    return mean


def load_items(
    search: tuple[TaskSpec, ...],
    report: tuple[TaskSpec, ...],
    tokenizer: Any,
    model: Any,
    scratch: Path,
    *,
    limit: int,
    seed: int,
) -> SearchSet:
    """Return `limit` seeded items of each search task that has training items, none of whose questions is reported on.

    A group's items are taken from its parts in equal numbers.
    """
    from harness.data import overlap
    from harness.data import tasks as data
    from harness.evaluation.batches import pack
    from harness.evaluation.lm import TreeLM
    from harness.nas.population import longest_chain

    usable = tuple(spec for spec in search if data.searchable(spec))
    if not usable:
        raise ValueError(
            "no task of this suite has training items, so a search has nothing to score; name tasks that do in the suite's `search`"
        )
    reported = reported_questions(report, scratch)
    lm = TreeLM(model, tokenizer)
    requests: list[Any] = []
    items: list[tuple[list[int], np.ndarray, int]] = []
    names: list[str] = []
    loaded = data.load(usable, scratch, "search")
    for name, task, share in (
        (name, task, -(-limit // len(parts))) for name, parts in loaded.items() for task in parts.values()
    ):
        fresh = [
            index
            for index, document in enumerate(task.eval_docs)
            if not reported & set(map(overlap.digest, overlap.forms(task, document)))
        ]
        chosen = [fresh[index] for index in np.random.default_rng(seed).permutation(len(fresh))[:share]]
        task.build_all_requests(samples=chosen)
        by_document: dict[int, list[Any]] = {}
        for instance in task.instances:
            by_document.setdefault(instance.doc_id, []).append(instance)
        for instances in by_document.values():
            document = instances[0].doc
            places = []
            for instance in sorted(instances, key=lambda each: each.idx):
                places.append(len(requests))
                requests.append(_request(lm, instance.args))
            texts = (
                [str(instance.args[1]) for instance in instances]
                if task.multiple_input
                else list(task.doc_to_choice(document))
            )
            answer = task.doc_to_text(document) if task.multiple_input else task.doc_to_target(document)
            answer = texts.index(answer) if isinstance(answer, str) and not answer.isdigit() else int(answer)
            items.append((places, np.array([len(text) for text in texts], dtype=float), answer))
            names.append(name)
    batches = pack(requests, chain=longest_chain(model))
    return SearchSet(batches, len(requests), items, names)


def _request(lm: Any, arguments: tuple[str, str]) -> Any:
    from harness.evaluation.lm import cut

    context, continuation = lm._encode_pair(*arguments)
    return cut(context, continuation, lm.max_length)


def reported_questions(report: tuple[TaskSpec, ...], scratch: Path) -> frozenset[str]:
    """Return hashes of the questions of every reported item."""
    from harness.data import overlap
    from harness.data import tasks as data

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
