"""Candidates scored twice on the same items.

As a search does it, and by lm-eval on a copy of each, as a plain loop would.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.data import tasks as data
from harness.nas.architecture import Architecture
from harness.nas.fitness import Chunk, Questions, drawn, load_items, reported_questions, stages
from harness.nas.records import Records
from harness.nas.search_step import Search, load
from harness.nas.searchers.all_searchers import searcher
from harness.nas.searchers.base import Ask
from harness.nas.space import Space
from harness.nas.supernet import Elastic, extracted
from harness.nas.tally import Tally, mean, merged, tally
from harness.spec import Work

if TYPE_CHECKING:
    from harness.nas.oracle import Oracle

BATCH = 16  # rows of lm-eval's HFLM
Scores = dict[str, np.ndarray]


@dataclass(frozen=True)
class Ground:
    """A super-network and the items of its search, for both ways of scoring.

    Split as the search packs them, and as lm-eval's tasks.
    """

    model: Any
    tokenizer: Any
    space: Space
    step: Search
    questions: Questions
    chunks: list[Chunk]
    tasks: dict[str, dict[str, Any]]  # lm-eval's tasks by spec and part
    samples: dict[
        str, list[int]
    ]  # places of the documents by part, ascending: lm-eval numbers its answers wrongly else


@dataclass(frozen=True)
class Loop:
    """A finished search: how many candidates it asked about.

    And those beside the seeds that it scored on everything.
    """

    candidates: int
    evaluations: float
    whole: list[Architecture]
    scores: Scores  # of `whole`


def ground(work: Work, step: Search) -> Ground:
    """Return what `step` would score its candidates on, loaded."""

    model, tokenizer, whole = load(work, step.space)
    space = replace(whole, lowest=step.lowest, highest=step.highest)
    wanted = tuple(spec for spec in step.tasks if not step.only or spec.name in step.only)
    questions, _ = load_items(
        wanted, step.report_tasks, tokenizer, model, work.scratch, limit=step.items, held_out=0, seed=step.seed
    )
    chunks = [questions.chunk(part, model) for part in stages(questions.items)]
    reported = reported_questions(step.report_tasks, work.scratch)
    loaded = data.load(tuple(spec for spec in wanted if data.searchable(spec)), work.scratch, "search")
    samples = {
        part: sorted(drawn(task, reported, -(-step.items // len(parts)), step.seed))
        for parts in loaded.values()
        for part, task in parts.items()
    }
    searched = {name: {part: task for part, task in parts.items() if samples[part]} for name, parts in loaded.items()}
    return Ground(model, tokenizer, space, step, questions, chunks, searched, samples)


def population(space: Space, count: int, seed: int) -> np.ndarray:
    """Return distinct genomes (count, genes) as a search's first loops ask them.

    Half of them seeds, half a sample.
    """
    seeds = space.seeds()
    spread = seeds[np.argsort(space.sizes(seeds), kind="stable")]
    first = spread[np.unique(np.linspace(0, len(spread) - 1, min(len(spread), -(-count // 2))).round().astype(int))]
    sample = space.sample(count - len(first), np.random.default_rng(seed))
    return np.unique(np.concatenate([first, sample]), axis=0)


def by_search(subject: Ground, genomes: np.ndarray, place: Path) -> Scores:
    """Score the genomes through the whole of a search's own loop.

    Stages, records on disk, front and hypervolume told.
    """

    with Elastic(subject.model) as elastic:
        oracle = _oracle(subject, elastic, place, len(genomes))
        oracle.ask(Ask(genomes, seeded=True))
    return _known(oracle, architectures(subject.space, genomes))


def by_loop(subject: Ground, evaluations: int, place: Path) -> Loop:
    """Search with the step's own searcher, stages and all, for so many evaluations of the whole set."""
    from harness.nas.oracle import drive

    chosen = searcher(subject.step.searcher, subject.step.options)
    with Elastic(subject.model) as elastic:
        oracle = _oracle(subject, elastic, place, evaluations)
        drive(chosen, oracle, np.random.default_rng(subject.step.search_seed))
    whole = [one.architecture for one in oracle.objectives()[0] if not one.seed]
    return Loop(len(oracle.candidates), oracle.spent, whole, _known(oracle, whole))


def _oracle(subject: Ground, elastic: Elastic, place: Path, evaluations: float) -> Oracle:
    from harness.nas.oracle import Oracle

    place.unlink(missing_ok=True)  # what an earlier pass knows would cost nothing
    shares = [chunk.weight for chunk in subject.chunks]
    return Oracle(
        subject.space,
        subject.chunks,
        shares,
        elastic,
        Records(place),
        objective="choice_error",
        evaluations=evaluations,
        staged=subject.step.staged,
    )


def _known(oracle: Oracle, candidates: Sequence[Architecture]) -> Scores:
    tallies = [oracle.records.get(one).tallies for one in candidates]
    return _scores([merged([each[index] for index in range(len(oracle.chunks))]) for each in tallies])


def by_lm_eval(subject: Ground, candidates: Sequence[Architecture]) -> Scores:
    """Score each candidate as a plain loop does.

    A copy of its own, a new HFLM, lm-eval's requests built, batches of 16.
    """
    totals, headline = [], []
    for one in candidates:
        likelihoods, told = answers(extracted(subject.model, one), subject)
        totals.append(tally(subject.questions.items, likelihoods))
        headline.append(told)
    return _scores(totals) | {"headline": np.array(headline)}


def answers(model: Any, subject: Ground) -> tuple[np.ndarray, float]:
    """Return stock lm-eval's log-likelihoods (requests,) of the search items, and its accuracy."""
    from lm_eval.evaluator import evaluate
    from lm_eval.models.huggingface import HFLM

    scorer = HFLM(pretrained=model, tokenizer=subject.tokenizer, batch_size=BATCH)
    parts = {part: task for each in subject.tasks.values() for part, task in each.items()}
    results = evaluate(scorer, {"tasks": parts}, samples=subject.samples, bootstrap_iters=0, log_samples=True)
    likelihoods = []
    for part in parts:
        first = results["samples"][part][0]["filter"]
        for sample in sorted(results["samples"][part], key=lambda each: each["doc_id"]):
            if sample["filter"] == first:
                likelihoods += [float(likelihood) for likelihood, _ in sample["filtered_resps"]]
    told = [_headline(results["results"][part]) for part in parts]
    return np.array(likelihoods), float(np.mean(told))


def _headline(results: dict[str, Any]) -> float:
    """Return acc_norm where the task has one, else acc."""
    named = {name.split(",")[0]: value for name, value in results.items() if name.startswith("acc")}
    return float(named.get("acc_norm", named.get("acc", np.nan)))


def architectures(space: Space, genomes: np.ndarray) -> list[Architecture]:
    """Return the sub-networks of genomes (n, genes)."""
    return [space.decode(genome) for genome in genomes]


def _scores(tallies: Sequence[Tally]) -> Scores:
    return {name: np.array([mean(each, name) for each in tallies]) for name in ("accuracy", "choice_error")}


def peak_work(kind: str, work: Work, step: Search, genomes: np.ndarray) -> None:
    """Do what a fresh process is watched at.

    "search" scores candidates, "ours" and "lm-eval" the whole network only.
    """
    from lm_eval.evaluator import evaluate

    from harness.evaluation.lm import TreeLM

    subject = ground(work, step)
    if kind == "search":
        by_search(subject, genomes, work.scratch / "peak.jsonl")
    elif kind == "lm-eval":
        answers(subject.model, subject)
    else:
        parts = {part: task for each in subject.tasks.values() for part, task in each.items()}
        scorer = TreeLM(subject.model, subject.tokenizer)
        evaluate(scorer, {"tasks": parts}, samples=subject.samples, bootstrap_iters=0, log_samples=True)
