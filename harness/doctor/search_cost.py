"""`harness doctor search`: what a candidate costs in a search, beside lm-eval on a copy of each.

Speed, answers, memory.
"""

from __future__ import annotations

import json
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.command.searching import Searches
from harness.command.terminal import console, show_table
from harness.display import Live
from harness.doctor import alternating as searching
from harness.doctor.alternating import hushed
from harness.execution import execute
from harness.spec import Work

if TYPE_CHECKING:
    from pathlib import Path

    from harness.doctor.plain_loop import Ground
    from harness.nas.search_step import Search
    from harness.spec import Work
    from harness.storage.store import Store

MEMORY = 1.3  # times the peak of the dense model's own evaluation, that a search should stay below
PEAKS = {"search": "the search", "ours": "dense, our scorer", "lm-eval": "dense, lm-eval"}


def compare_costs(made: Searches, store: Store, *, candidates: int, rounds: int, evaluations: int, form: str) -> bool:
    """Score the same candidates both ways in turn, and return whether every accuracy is the same.

    What each took is printed.
    """
    _prepare(made, store)
    with console().status("loading items") as status, hushed():
        costs = measure(made, store, candidates=candidates, rounds=rounds, evaluations=evaluations, told=status.update)
    _show(costs, form, f"{made.run.model}, suite {made.run.suite}, {made.run.resolved_dtype}")
    return costs["accuracy"]["equal"]


def _prepare(made: Searches, store: Store) -> None:
    """Bring model and super-network into the store; ValueError says why that failed."""

    with Live(console(stderr=True)) as watch:
        summary = execute(made.only_network(), store, watch)
    if summary.failed:
        raise ValueError(next(iter(summary.failed.values())))


def measure(
    made: Searches, store: Store, *, candidates: int, rounds: int, evaluations: int, told: Any
) -> dict[str, Any]:
    """Return the costs, scores and peaks of both ways as plain values.

    And those of a search of so many evaluations.
    """
    from harness.doctor import plain_loop as plain
    from harness.nas.population import layer_runs, visits

    node = made.searches()[0]
    step: Search = node.step  # type: ignore[assignment]
    work = _work(made, store)
    subject = plain.ground(work, step)
    genomes = plain.population(subject.space, candidates, step.seed)
    networks = plain.architectures(subject.space, genomes)
    journal = work.scratch / "records.jsonl"
    told("warming up")
    plain.by_search(subject, genomes[:1], journal)
    plain.by_lm_eval(subject, networks[:1])
    ways = searching.alternating(
        {
            "search": lambda: plain.by_search(subject, genomes, journal),
            "lm-eval": lambda: plain.by_lm_eval(subject, networks),
        },
        rounds=rounds,
        told=told,
    )
    ours, theirs = ways["search"], ways["lm-eval"]
    told(f"a search by {step.searcher}, {evaluations} evaluations")
    loop = _loop(subject, evaluations, journal, candidates)
    peaks = {}
    for kind in PEAKS:
        told(f"peak memory, {PEAKS[kind]}")
        peaks[kind] = searching.fresh_peak(plain.peak_work, kind, work, step, genomes)
    alone, shared = layer_runs(visits(networks))
    gaps = np.abs(ours.scores["accuracy"] - theirs.scores["accuracy"])
    return {
        "candidates": len(networks),
        "sizes": subject.space.sizes(genomes).tolist(),
        "items": len(subject.questions.items),
        "requests": len(subject.questions.requests),
        "layer_runs": {"alone": alone, "shared": shared},
        "a_minute": {name: way.a_minute(len(networks)) for name, way in ways.items()},
        "seconds": {name: {"cpu": way.cpu, "wall": way.wall} for name, way in ways.items()},
        "cpu_ratio": searching.ratio(theirs.cpu, ours.cpu),
        "wall_ratio": searching.ratio(theirs.wall, ours.wall),
        "scores": {name: {key: value.tolist() for key, value in way.scores.items()} for name, way in ways.items()},
        "accuracy": {
            "equal": bool((gaps < 1e-9).all()),
            "differing": int((gaps >= 1e-9).sum()),
            "largest": float(gaps.max()),
        },
        "choice_error_gap": float(np.abs(ours.scores["choice_error"] - theirs.scores["choice_error"]).max()),
        "tau": {
            "choice_error": searching.tau(ours.scores["choice_error"], theirs.scores["choice_error"]),
            "accuracy": searching.tau(ours.scores["accuracy"], theirs.scores["accuracy"]),
            "headline": searching.tau(ours.scores["accuracy"], theirs.scores["headline"]),
        },
        "peak_bytes": peaks,
        "loop": loop | {"ratio": loop["a_minute"] / theirs.a_minute(len(networks))},
    }


def _loop(subject: Ground, evaluations: int, journal: Path, candidates: int) -> dict[str, Any]:
    """Return what a whole search took, and how lm-eval ranks some of its candidates.

    They are among those that it scored on everything.
    """
    from harness.doctor import plain_loop as plain

    way = searching.Way()
    with way.timed():
        search = plain.by_loop(subject, evaluations, journal)
    places = np.unique(np.linspace(0, len(search.whole) - 1, min(candidates, len(search.whole))).round().astype(int))
    theirs = plain.by_lm_eval(subject, [search.whole[index] for index in places])
    mine = {name: values[places] for name, values in search.scores.items()}
    return {
        "searcher": subject.step.searcher,
        "candidates": search.candidates,
        "evaluations": search.evaluations,
        "cpu": way.cpu[0],
        "wall": way.wall[0],
        "a_minute": way.a_minute(search.candidates),
        "checked": len(places),
        "gap": float(np.abs(mine["accuracy"] - theirs["accuracy"]).max(initial=0.0)),
        "tau": searching.tau(mine["choice_error"], theirs["choice_error"]) if len(places) > 1 else None,
    }


def _work(made: Searches, store: Store) -> Work:
    """Return a place to work at outside the store's steps, behind the super-network."""
    from harness.models.checkpoint import pick_device

    node = made.searches()[0]
    device = pick_device(made.run.device)
    folder = store.root / "doctor" / f"search-{node.key[:12]}-{device.replace(':', '')}"
    folder.mkdir(parents=True, exist_ok=True)
    return Work(folder, folder, store, node.key, tuple(each.key for each in node.ancestors()), (), device)


def _show(costs: dict[str, Any], form: str, subject: str) -> None:
    if form == "json":
        print(json.dumps(costs, indent=1))
        return
    headers, rows = ("", "search", "lm-eval on copies", "ratio"), _rows(costs)
    title = f"{costs['candidates']} candidates on {costs['items']} items ({costs['requests']} requests) of {subject}"
    show_table(headers, rows, title=title, form=form)
    print("\n".join(_sentences(costs)))


def _rows(costs: dict[str, Any]) -> list[tuple[str, ...]]:

    rows = [("candidates a minute", *(f"{costs['a_minute'][name]:.1f}" for name in ("search", "lm-eval")), "")]
    for kind, label in (("cpu", "CPU seconds a candidate"), ("wall", "wall seconds a candidate")):
        each = (median(costs["seconds"][name][kind]) / costs["candidates"] for name in ("search", "lm-eval"))
        rows.append((label, *(f"{value:.2f}" for value in each), f"{costs[f'{kind}_ratio']:.2f}"))
    return rows


def _sentences(costs: dict[str, Any]) -> list[str]:
    accuracy, tau, peaks, runs, loop = (costs[name] for name in ("accuracy", "tau", "peak_bytes", "layer_runs", "loop"))
    share = {kind: peaks["search"] / peaks[kind] for kind in ("ours", "lm-eval")}
    verdict = (
        "accuracy per candidate: equal"
        if accuracy["equal"]
        else f"accuracy per candidate: {accuracy['differing']} of {costs['candidates']} differ, by {accuracy['largest']:.4f} at most"
    )
    ranks = ", ".join(f"{name} {'-' if value is None else f'{value:.3f}'}" for name, value in tau.items())
    return [
        f"{verdict}; choice error differs by {costs['choice_error_gap']:.1e} at most",
        f"Kendall's tau of both rankings: {ranks} (headline: our accuracy against the acc_norm or acc that lm-eval prints)",
        f"layers run: {runs['shared']} of {runs['alone']}, since candidates that begin alike share their first layers",
        f"a search by {loop['searcher']}, stages and all: {loop['candidates']} candidates in {loop['wall']:.0f} s for "
        f"{loop['evaluations']:.0f} evaluations, {loop['a_minute']:.0f} a minute, {loop['ratio']:.1f} times the plain loop's; "
        f"lm-eval on {loop['checked']} that it scored whole: accuracy differs by {loop['gap']:.4f} at most, "
        f"tau {'-' if loop['tau'] is None else format(loop['tau'], '.3f')}",
        f"peak memory of a fresh process: {', '.join(f'{label} {peaks[kind] / 1e6:.0f} MB' for kind, label in PEAKS.items())}",
        f"the search peaks at {share['ours']:.2f} of dense by our scorer and {share['lm-eval']:.2f} of dense by lm-eval; "
        f"target {MEMORY}: {'met' if share['ours'] <= MEMORY else 'missed'}",
    ]
