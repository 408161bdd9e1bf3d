"""What a candidate costs is measured on the same items both ways.

The memory of each way is measured in a process of its own.
"""

from __future__ import annotations

import json

import numpy as np
import pytest

from harness.cli import main
from harness.doctor import alternating as searching

WORDS = [
    *("suite=demo", "model=random-llama", "settings.nas.search_items=3", "settings.nas.training_tokens=0"),
    *("calibration.samples=4", "calibration.length=16", "dtype=float32", "candidates=4", "rounds=1"),
]


def take(megabytes: int) -> None:
    np.ones(megabytes * 2**20, dtype=np.uint8)


def fail() -> None:
    raise ValueError("no")


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """The command's own output, as JSON."""
    from contextlib import redirect_stdout
    from io import StringIO

    text = StringIO()
    with redirect_stdout(text):
        assert (
            main(
                [
                    "doctor",
                    "search",
                    *WORDS,
                    "evaluations=20",
                    f"store={tmp_path_factory.mktemp('store')}",
                    "format=json",
                ]
            )
            == 0
        )
    return json.loads(text.getvalue())


def test_both_ways_give_each_candidate_the_same_accuracy(told):
    assert told["accuracy"] == {"equal": True, "differing": 0, "largest": 0.0}
    assert told["scores"]["search"]["accuracy"] == told["scores"]["lm-eval"]["accuracy"]
    assert told["choice_error_gap"] < 1e-4
    assert told["tau"]["choice_error"] == pytest.approx(1.0)


def test_candidates_are_distinct_and_of_several_sizes(told):
    assert told["candidates"] == len(set(told["sizes"])) == 4
    assert max(told["sizes"]) - min(told["sizes"]) > 0.2
    assert len(set(told["scores"]["search"]["choice_error"])) == 4


def test_every_search_task_is_asked(told):
    assert told["items"] == 3 * 7
    assert told["requests"] > told["items"]


def test_costs_are_those_of_the_passes(told):
    for way in ("search", "lm-eval"):
        (wall,) = told["seconds"][way]["wall"]
        assert told["a_minute"][way] == pytest.approx(60 * 4 / wall)
    assert told["cpu_ratio"] == told["seconds"]["lm-eval"]["cpu"][0] / told["seconds"]["search"]["cpu"][0]
    assert 0 < told["layer_runs"]["shared"] <= told["layer_runs"]["alone"]


def test_the_whole_loop_is_timed_and_its_candidates_get_the_scores_that_lm_eval_gives_their_copies(told):
    loop = told["loop"]
    assert loop["searcher"] == "evolution"
    assert loop["evaluations"] == pytest.approx(20, abs=1)
    assert loop["candidates"] > loop["evaluations"]  # most children leave after a part of the items
    assert loop["a_minute"] == pytest.approx(60 * loop["candidates"] / loop["wall"])
    assert loop["ratio"] == pytest.approx(loop["a_minute"] / told["a_minute"]["lm-eval"])
    assert 1 < loop["checked"] <= 4
    assert loop["gap"] < 1e-9
    assert loop["tau"] == pytest.approx(1.0)


def test_a_search_that_scores_other_items_is_found_out(tmp_path, monkeypatch, capsys):
    from harness.doctor import plain_loop as plain

    original = plain.answers
    monkeypatch.setattr(plain, "answers", lambda *given: (original(*given)[0][::-1], 0.0))
    monkeypatch.setattr(searching, "fresh_peak", lambda *_: 1)
    assert main(["doctor", "search", *WORDS, "evaluations=4", f"store={tmp_path}", "format=markdown"]) == 1
    assert "of 4 differ, by" in capsys.readouterr().out


def test_turns_alternate_so_that_neither_way_is_always_first():
    asked: list[str] = []

    def way(name):
        return lambda: asked.append(name) or {"accuracy": np.zeros(1)}

    actual = searching.alternating({"a": way("a"), "b": way("b")}, rounds=3, told=str)
    assert asked == ["a", "b", "b", "a", "a", "b"]
    assert [len(one.wall) for one in actual.values()] == [3, 3]


def test_the_peak_is_of_the_watched_work_and_not_of_its_parent():
    little = searching.fresh_peak(take, 1)
    mine = np.ones(400 * 2**20, dtype=np.uint8)  # what this process holds must not count
    much = searching.fresh_peak(take, 200)
    assert mine[-1] == 1
    assert 150e6 < much - little < 300e6


def test_a_process_that_fails_is_told():
    with pytest.raises(RuntimeError, match="ended early"):
        searching.fresh_peak(fail)


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("candidats=4", "key candidats is unknown; did you mean candidates?"),
        ("candidates=none", "candidates must be a whole number from 1 to 1,000,000, not none"),
        ("searchers=[linas]", "key searchers is unknown"),
        ("settings.nas.searcher=linas", "settings.nas.searcher: "),
    ],
)
def test_a_wrong_word_is_told_once(tmp_path, capsys, word, told):
    assert main(["doctor", "search", f"store={tmp_path}", word]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith(f"harness: {told}")
