"""`harness doctor parity` finds a scorer that answers otherwise than lm-eval's, and only such a one."""

from __future__ import annotations

import json

import pytest

from harness.cli import main
from harness.doctor.parity_check import compare
from harness.evaluation import lm
from harness.evaluation.items import EMPTY
from harness.quantities import metric

WORDS = ["doctor", "parity", "suite=demo", "model=random-llama", "limit=3", "tasks=demo_piqa,demo_boolq"]


def choice(values: list[float], prediction: int, lengths: tuple[int, ...] = (5, 5)) -> dict:
    more = {"loglikelihoods": values, "lengths": list(lengths), "prediction": prediction, "prediction_norm": prediction}
    return EMPTY | {"item": "a", "cluster": "a", "target": 0} | more


def page(likelihood: float) -> dict:
    return EMPTY | {"item": "a", "cluster": "a", "loss": -likelihood, "units": 5000.0}


def test_equal_answers_are_parity():
    actual = compare("piqa", [choice([-1.0, -2.0], 0)] * 2, [choice([-1.0005, -2.0], 0)] * 2, metric("acc"))
    assert actual.equal
    assert (actual.items, actual.likelihoods, actual.differing) == (2, 4, 0)
    assert actual.largest == pytest.approx(0.0005)
    assert actual.ours["acc"] == actual.theirs["acc"] == 1.0


def test_another_prediction_counts_unless_the_top_choices_are_tied():
    tied = compare("piqa", [choice([-1.0, -1.0005], 0)], [choice([-1.0005, -1.0], 1)], metric("acc"))
    assert (tied.differing, tied.near_ties, tied.beyond_ties, tied.equal) == (1, 1, 0, True)
    wrong = compare("piqa", [choice([-1.0, -2.0], 0)], [choice([-1.0, -2.0], 1)], metric("acc"))
    assert (wrong.differing, wrong.near_ties, wrong.beyond_ties, wrong.equal) == (1, 0, 1, False)


def test_a_log_likelihood_that_is_off_is_no_parity():
    actual = compare("piqa", [choice([-1.0, -2.0], 0)], [choice([-1.0, -2.0011], 0)], metric("acc"))
    assert (actual.over, actual.equal) == (1, False)


def test_a_page_may_differ_by_the_rounding_of_the_oracles_float32_sum_and_no_more():
    assert compare("wikitext", [page(-15000.003)], [page(-15000.0)], metric("word_perplexity")).equal
    assert not compare("wikitext", [page(-15000.006)], [page(-15000.0)], metric("word_perplexity")).equal


def test_of_one_given_answer_the_greedy_flag_is_the_prediction():
    row = EMPTY | {"item": "a", "cluster": "a", "loglikelihoods": [-0.5], "greedy": [True], "loss": 0.5, "units": 1.0}
    assert compare("lambada", [row], [row], metric("acc")).equal
    assert not compare("lambada", [row], [row | {"greedy": [False]}], metric("acc")).equal


def test_different_items_are_refused():
    with pytest.raises(ValueError, match="piqa: the two scorers were asked different items"):
        compare("piqa", [choice([-1.0, -2.0], 0)], [choice([-1.0, -2.0], 0) | {"item": "b"}], metric("acc"))


def test_the_command_says_that_our_scorer_is_lm_evals(tmp_path, capsys):
    assert main([*WORDS, f"store={tmp_path}"]) == 0
    printed = capsys.readouterr().out
    assert [line.split(":")[0] for line in printed.splitlines()[:2]] == ["same  demo_boolq", "same  demo_piqa"]
    assert "all 2 tasks answer as stock HFLM does" in printed


def test_the_command_goes_on_where_it_was_interrupted(tmp_path, capsys, monkeypatch):
    assert main([*WORDS, f"store={tmp_path}"]) == 0
    monkeypatch.setattr(lm, "answer", lambda model, asked, *_, **__: 1 / 0 if asked else None)
    monkeypatch.setattr(lm.HFLM, "_loglikelihood_tokens", lambda *_, **__: 1 / 0)
    assert main([*WORDS, f"store={tmp_path}"]) == 0


def test_the_command_finds_a_scorer_that_is_off_by_a_hundredth(tmp_path, capsys, monkeypatch):
    from harness.evaluation import scorer

    judge = scorer.judge

    def shifted(*arguments):
        chosen, best = judge(*arguments)
        return chosen + 0.01, best

    monkeypatch.setattr(scorer, "judge", shifted)
    assert main([*WORDS, f"store={tmp_path}", "format=json"]) == 1
    printed = capsys.readouterr().out
    actual = json.loads(printed[: printed.rindex("]") + 1])
    assert all(result["parity"]["over"] == result["parity"]["likelihoods"] > 0 for result in actual)
    assert "demo_boolq, demo_piqa differ" in printed


def test_an_unknown_task_is_named_before_anything_is_scored(tmp_path, capsys):
    assert main(["doctor", "parity", "suite=demo", "model=random-llama", "tasks=demo_piq", f"store={tmp_path}"]) == 2
    assert "demo_piq: the suite has demo_boolq" in capsys.readouterr().err
