"""harness search: the searches of a run, once each, and their numbers.

The numbers are made only of whole candidates and shared references.
"""

from __future__ import annotations

import json

import pytest

from harness import config, graph
from harness.cli import main
from harness.command import searchers as search
from harness.command import searching

FEW = [
    *("suite=demo", "model=random-llama", "settings.nas.search_items=2", "settings.nas.training_tokens=0"),
    *("calibration.samples=4", "calibration.length=16"),
]


def found(name: str, seed: int, fitness: list[float], **more) -> dict:
    """Return a finished search whose candidates were asked one by one, all of size 0.8 and cost 0.5."""
    candidate = {"cost": 0.5, "size": 0.8, "whole": True, "architecture": [1, []], "parameters": 8, "seed": False}
    return {
        **{"name": name, "searcher": name, "search_seed": seed, "problem": "p", "space": "fine", "cost": "parameters"},
        **{"objective": "choice_error", "reference": [2.0, 1.0], "evaluations": float(len(fitness)), "seconds": 10.0},
        "candidates": [candidate | {"fitness": each, "spent": float(at)} for at, each in enumerate(fitness)],
        **more,
    }


def by_name(searches: list[dict], evaluations: int) -> dict[str, dict]:
    return {row["searcher"]: row for row in search.rows(searches, evaluations)}


def test_the_hypervolume_at_the_budget_is_the_mean_over_seeds():
    row = by_name([found("random", 0, [1.5, 1.0]), found("random", 1, [1.0, 1.0])], 2)["random"]
    assert row["seeds"] == 2
    assert list(row["hypervolume"]) == [2]
    assert row["hypervolume"][2].value == pytest.approx(0.5)
    assert row["hypervolume"][2].low == pytest.approx(0.5)


def test_a_budget_passed_by_a_part_of_an_evaluation_is_still_the_budget():
    row = by_name([found("evolution", 0, [1.5, 1.0], evaluations=2.4)], 2)["evolution"]
    assert row["hypervolume"][2].value == pytest.approx(0.5)


def test_hypervolume_is_told_at_the_marks_within_the_budget():
    fitness = [1.5] * 49 + [1.0] * 71
    row = by_name([found("random", 0, fitness)], 120)["random"]
    areas = {mark: estimate.value for mark, estimate in row["hypervolume"].items()}
    assert areas == {50: pytest.approx(0.5), 100: pytest.approx(0.5), 120: pytest.approx(0.5)}
    late = by_name([found("random", 0, [1.5] * 50 + [1.0] * 70)], 120)["random"]
    assert late["hypervolume"][50].value == pytest.approx(0.25)


def test_evaluations_to_the_standard_count_seeds_that_never_reach_it():
    searches = [
        *(found("nsga2", seed, [1.8, 1.4, 1.2]) for seed in range(2)),
        found("linas", 0, [1.8, 1.1, 1.1]),
        found("linas", 1, [1.8, 1.8, 1.8]),
    ]
    rows = by_name(searches, 3)
    assert (rows["linas"]["evaluations_to_standard"].value, rows["linas"]["evaluations_to_standard"].n) == (2.0, 1)
    assert search._cells(rows["linas"])[3] == "2 (1 of 2)"
    assert by_name([found("linas", 0, [1.0])], 1)["linas"]["evaluations_to_standard"] is None


def test_candidates_scored_on_a_part_of_the_items_count_nowhere():
    part = found("evolution", 0, [1.5, 0.1])
    part["candidates"][1]["whole"] = False
    row = by_name([part], 2)["evolution"]
    assert row["hypervolume"][2].value == pytest.approx(0.25)
    assert row["best"][0.8].value == 1.5


def test_the_best_fitness_is_that_of_candidates_at_the_size():
    off = found("random", 0, [1.5, 0.1])
    off["candidates"][1]["size"] = 0.8051
    row = by_name([off], 2)["random"]
    assert row["best"][0.8].value == 1.5
    assert (row["best"][0.9], row["best"][0.7]) == (None, None)


def test_searches_with_another_reference_point_are_refused():
    with pytest.raises(ValueError, match="do not share a reference point.*linas of seed 0.*random of seed 0"):
        search.rows([found("linas", 0, [1.0]), found("random", 0, [1.0], reference=[2.5, 1.0])], 1)
    with pytest.raises(ValueError, match="random of seed 1: no candidate"):
        search.rows([found("random", 1, [1.0], reference=None)], 1)


def test_within_sizes_a_predictor_of_size_alone_is_worth_nothing():
    one = found("linas", 0, [1.0 + 0.1 * ((7 * index) % 5) for index in range(20)])
    for index, candidate in enumerate(one["candidates"]):
        candidate["parameters"] = 100 + index
        candidate["fitness"] -= 0.2 * index
        candidate["predicted"] = -float(index) + 1e-9 * ((3 * index) % 7)
    row = by_name([one], 20)["linas"]
    assert row["tau"].value > 0.8
    assert abs(row["tau_within_sizes"].value) < 0.3


def test_a_search_is_the_one_that_a_run_would_make(tmp_path):
    words = [*FEW, f"store={tmp_path}"]
    run = config.compose([*words, "methods=['nas(searcher=nsga2,evaluations=12,search_seed=1)']", "budgets=[0.8]"])
    made, _ = searching.planned(words, ["searcher=nsga2,evaluations=12,search_seed=1"])
    assert {node.key for node in made.steps()} < {node.key for node in graph.build(run).steps()}
    assert [node.step.KIND for node in made.steps()] == ["import", "supernet", "search"]


def test_searches_run_once_and_share_one_network(tmp_path, capsys, monkeypatch):
    words = [*FEW, f"store={tmp_path}", "searchers=[random,nsga2]", "seeds=2", "evaluations=20"]
    assert main(["search", *words, "format=json"]) == 0
    first = json.loads(capsys.readouterr().out)
    assert [(row["searcher"], row["seeds"]) for row in first["searchers"]] == [("random", 2), ("nsga2", 2)]
    assert all(row["hypervolume"]["20"]["value"] > 0 for row in first["searchers"])
    monkeypatch.setattr("harness.execution.run_steps", lambda *_: pytest.fail("a stored step was run again"))
    assert main(["search", *words, "format=json"]) == 0
    assert json.loads(capsys.readouterr().out) == first
    assert main(["search", *words, "format=markdown"]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    assert [line.split("|")[1].strip() for line in lines] == ["searcher", ":---", "random", "nsga2"]


def test_a_failed_search_is_told_and_fails_the_command(tmp_path, capsys):
    words = [*FEW, f"store={tmp_path}", "searchers=[random]", "seeds=1", "evaluations=20"]
    assert main(["search", *words, "settings.nas.only=[nothing]"]) == 1
    assert "failed: only=['nothing'] names no search task" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("serchers=[linas]", "key serchers is unknown; did you mean searchers or seeds?"),
        ("searchers=[lins,random]", "searcher lins is unknown; did you mean linas?"),
        ("settings.nas.evaluations=9", "settings.nas.evaluations: set evaluations= instead"),
        ("seeds=0", "seeds must be a whole number from 1 to 1,000, not 0"),
        ("searchers=[]", "searchers= names none"),
        ("format=jsn", "format jsn is unknown; did you mean json?"),
    ],
)
def test_a_wrong_word_is_told_once_with_the_nearest(tmp_path, capsys, word, told):
    assert main(["search", f"store={tmp_path}", "model=random-llama", word]) == 2
    assert capsys.readouterr().err == f"harness: {told}\n"
