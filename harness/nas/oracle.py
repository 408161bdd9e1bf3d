"""Answers what a searcher asks.

Scores candidates in stages within a budget, keeps every answer, shows how it goes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from harness import progress
from harness.evaluation.fronts import front, hypervolume
from harness.nas.architecture import Architecture
from harness.nas.fitness import Chunk
from harness.nas.records import Records
from harness.nas.searchers.base import Ask, Searcher, Told
from harness.nas.searchers.crowding import order
from harness.nas.space import Space
from harness.nas.supernet import Elastic
from harness.nas.tally import Objective, fitness, merged

IDLE = 50  # asks in a row that bring nothing new before a search ends: the space is exhausted
MARGIN = 1.02  # of the worst seed, where the reference point of the hypervolume lies


@dataclass
class Candidate:
    """One evaluated sub-network: where it stands among those asked before, and what it cost to know."""

    architecture: Architecture
    size: float  # share of the dense parameters
    cost: float
    stage: int = -1  # the last chunk it was scored on
    seed: bool = False
    spent: float = 0.0  # evaluations, of the whole search set, when it was asked first
    notes: dict[str, float] = field(default_factory=dict)


class Oracle:
    """`ask` scores genomes. An evaluation is one candidate on the whole search set.

    Chunks count by their share.
    """

    def __init__(
        self,
        space: Space,
        chunks: Sequence[Chunk],
        shares: Sequence[float],
        elastic: Elastic,
        records: Records,
        *,
        objective: Objective,
        evaluations: float,
        staged: bool = False,
        latency: Callable[[Architecture], float] | None = None,
    ) -> None:
        self.space, self.chunks, self.elastic, self.records = space, list(chunks), elastic, records
        self.ends = np.cumsum(shares) / np.sum(shares)  # share of the search set after each chunk
        self.objective, self.evaluations, self.staged, self.latency = objective, evaluations, staged, latency
        self.candidates: dict[Architecture, Candidate] = {}
        self.spent = 0.0
        self.reference: np.ndarray | None = None
        self._started, self._new = time.monotonic(), 0

    @property
    def finished(self) -> bool:
        return self.spent >= self.evaluations - 1e-9

    def ask(self, ask: Ask) -> Told:
        """Return (n, 2): fitness and cost of each genome; inf for sizes outside the space's range.

        Where neither the searcher nor `staged` says otherwise, every genome is scored on everything.
        """
        allowed = self.space.allowed(ask.genomes)
        drafts = self.space.draft(ask.genomes)
        asked = [drafts.architecture(index) if good else None for index, good in enumerate(allowed)]
        self._enter([one for one in asked if one is not None], ask, drafts.parameters(self.space.body)[allowed])
        wanted = list(dict.fromkeys(one for one in asked if one is not None))
        last = len(self.chunks) - 1
        stage = last if ask.share is None or ask.seeded else int(np.searchsorted(self.ends, ask.share - 1e-9))
        if ask.share is None and not ask.seeded and self.staged and last:
            estimates = self._in_stages(wanted, max(0, last - 1))
        else:
            self._score(wanted, stage)
            estimates = {one: self.fitness(one, stage) for one in wanted if self._known(one, stage)}
        told = np.full((len(asked), 2), np.inf)
        for row, one in enumerate(asked):
            if one is not None and one in estimates:
                told[row] = estimates[one], self.candidates[one].cost
        if ask.seeded and self.reference is None:
            finite = told[np.isfinite(told).all(axis=1)]
            if len(finite):
                self.reference = np.array([finite[:, 0].max() * MARGIN, max(1.0, finite[:, 1].max()) * MARGIN])
        return told

    def fitness(self, architecture: Architecture, stage: int) -> float:
        """Return the objective over all chunks up to `stage`."""
        tallies = self.records.get(architecture).tallies
        return fitness(merged([tallies[index] for index in range(stage + 1)]), self.objective)

    def objectives(self, whole: bool = True) -> tuple[list[Candidate], np.ndarray]:
        """Return the candidates scored on everything and their objectives (n, 2).

        In the order in which they were asked.
        """
        last = len(self.chunks) - 1
        candidates = [one for one in self.candidates.values() if one.stage == last or not whole]
        values = [(self.fitness(one.architecture, one.stage), one.cost) for one in candidates if one.stage >= 0]
        return [one for one in candidates if one.stage >= 0], np.array(values).reshape(-1, 2)

    def _enter(self, asked: Sequence[Architecture], ask: Ask, sizes: np.ndarray) -> None:
        predicted = (ask.notes or {}).get("predicted")
        good = np.flatnonzero(self.space.allowed(ask.genomes))
        for place, (one, size) in enumerate(zip(asked, sizes, strict=True)):
            if one in self.candidates:
                continue
            share = float(size) / self.space.body.dense
            candidate = Candidate(one, share, self._cost(one), seed=ask.seeded, spent=self.spent)
            if predicted is not None:
                candidate.notes["predicted"] = float(predicted[good[place]])
            self.candidates[one] = candidate

    def _cost(self, architecture: Architecture) -> float:
        if self.latency is None:
            return self.space.price(architecture)
        latency = self.records.get(architecture).latency
        if latency is None:
            latency = self.latency(architecture)
            self.records.add(architecture, latency=latency)
        return latency

    def _in_stages(self, wanted: Sequence[Architecture], first: int) -> dict[Architecture, float]:
        """Score all on the chunks up to `first`, the better half on everything.

        The others' fitness is estimated from it.
        """
        self._score(wanted, first)
        scored = [one for one in wanted if self._known(one, first)]
        if not scored:
            return {}
        last = len(self.chunks) - 1
        early = np.array([[self.fitness(one, first), self.candidates[one].cost] for one in scored])
        better = [scored[index] for index in order(early)[: (len(scored) + 1) // 2]]
        self._score(better, last)
        shifts = [
            self.fitness(one, last) - self.fitness(one, first) for one in scored if self._known(one, last)
        ]  # later items are harder or easier for all alike
        shift = float(np.median(shifts)) if shifts else 0.0
        return {
            one: self.fitness(one, last) if self._known(one, last) else early[index, 0] + shift
            for index, one in enumerate(scored)
        }

    def _known(self, architecture: Architecture, stage: int) -> bool:
        return self.candidates[architecture].stage >= stage

    def _score(self, wanted: Sequence[Architecture], stage: int) -> None:
        """Bring candidates to `stage`, chunk by chunk, as many as the budget allows."""
        for index in range(stage + 1):
            share = float(self.ends[index] - (self.ends[index - 1] if index else 0.0))
            todo = [one for one in wanted if self.candidates[one].stage == index - 1]
            room = int(np.ceil(max(0.0, self.evaluations - self.spent) / share - 1e-9))
            todo = todo[:room]
            self.spent += share * len(todo)
            for one in todo:
                self.candidates[one].stage = index
            fresh = [one for one in todo if index not in self.records.get(one).tallies]
            for done, (one, tally) in enumerate(self.chunks[index].score(self.elastic, fresh) if fresh else ()):
                self.records.add(one, chunk=index, tally=tally)
                self._new += index == len(self.chunks) - 1
                self._tell(self.spent - share * (len(fresh) - done - 1))

    def _tell(self, spent: float) -> None:
        last = len(self.chunks) - 1
        values = np.array(
            [
                (self.fitness(one.architecture, last), one.cost)
                for one in self.candidates.values()
                if last in self.records.get(one.architecture).tallies
            ]
        ).reshape(-1, 2)
        words = [f"evaluation {spent:.0f}/{self.evaluations:.0f}"]
        if len(values):
            words.append(f"front {int(front(values).sum())}, best {values[:, 0].min():.4f}")
            if self.reference is not None:
                words.append(f"hypervolume {hypervolume(values, self.reference):.4f}")
        words.append(f"{self._new / max(1e-9, time.monotonic() - self._started) * 60:.0f} a minute")
        progress.report(spent / self.evaluations, ", ".join(words))


def drive(searcher: Searcher, oracle: Oracle, generator: np.random.Generator) -> None:
    """Let a searcher ask until the budget is spent, it ends, or it finds nothing new."""
    exploration = searcher.explore(oracle.space, generator)
    idle = 0
    try:
        ask = next(exploration)
        while idle < IDLE:
            before = oracle.spent
            told = oracle.ask(ask)
            idle = 0 if oracle.spent > before else idle + 1
            if oracle.finished:
                return
            ask = exploration.send(told)
    except StopIteration:
        return
    finally:
        exploration.close()
