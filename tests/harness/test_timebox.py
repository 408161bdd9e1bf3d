"""minutes= fits a run into a time.

As many items and rounds as the estimate allows, chosen once, told, and refused where nothing fits.
"""

from __future__ import annotations

import pytest
from runs import planned, words

from harness import forecast, timebox
from harness.cli import main
from harness.command.planning import checked
from harness.config import ConfigErrors
from harness.timebox import Effort


@pytest.fixture
def slow(monkeypatch):
    """A machine whose speed is known: a hundredth of a second for a million FLOPs, and no past runs."""
    monkeypatch.setattr(forecast, "machine_rate", lambda dtype: 1e8)
    monkeypatch.setattr(forecast, "history", lambda store: {})


def effort(tmp_path, minutes, *more) -> Effort:
    made, store = planned(tmp_path, "methods=[dense]", "quantizers=[none]", "limit=null", f"minutes={minutes}", *more)
    return timebox.fitted(made, store)


def estimated(tmp_path, chosen) -> float:
    made, store = planned(tmp_path, "methods=[dense]", "quantizers=[none]", "limit=null", "measure.rounds=7")
    steps = [chosen.applied(node.step) for node in made.steps()]
    parameters = forecast.model_parameters(made, store)
    return sum(forecast.seconds(step, parameters, 1e8, {}) for step in steps)


def test_what_is_chosen_fits_and_more_would_not(slow, tmp_path):
    chosen = effort(tmp_path, 2.2, "measure.rounds=7")
    assert chosen.limit is not None
    assert estimated(tmp_path, chosen) <= 132
    limits = [None, *timebox.LIMITS]
    larger = limits[limits.index(chosen.limit) - 1]
    assert estimated(tmp_path, chosen._replace(limit=larger)) > 132


def test_more_minutes_never_choose_fewer_items(slow, tmp_path):
    actual = [effort(tmp_path, minutes).limit or 10**9 for minutes in (1.3, 2.2, 3, 20, 1000)]
    assert actual == sorted(actual)
    assert actual[-1] == 10**9  # all


def test_a_limit_that_was_asked_for_is_not_exceeded(slow, tmp_path):
    made, store = planned(tmp_path, "methods=[dense]", "limit=30", "minutes=1000")
    assert timebox.fitted(made, store).limit == 30


def test_few_items_get_rounds_only_where_enough_items_do_not_fit_anyway(slow, tmp_path):
    efforts = list(timebox.efforts(planned(tmp_path, "limit=null", "measure.rounds=7")[0].run))
    assert efforts[0] == Effort(None, 7)
    assert {each.rounds for each in efforts} == {7, 5, 3}
    assert efforts[-1] == Effort(min(timebox.LIMITS), 3)


def test_minutes_that_nothing_fits_are_refused_with_what_the_least_takes(slow, tmp_path):
    with pytest.raises(
        ConfigErrors, match=r"minutes=0.01: with 10 items a task and 2 rounds of timing the run takes about"
    ):
        effort(tmp_path, 0.01)


def test_the_same_words_find_their_work_done_whatever_the_estimate_says_then(slow, tmp_path, monkeypatch, capsys):
    asked = words(tmp_path, "methods=[dense]", "quantizers=[none]", "limit=12", "minutes=1.2", "measure.speed=false")
    assert main(["run", *asked]) == 0
    said = capsys.readouterr().out
    assert "minutes=1.2: at most 10 items a task, 2 rounds of timing" in said
    monkeypatch.setattr(forecast, "machine_rate", lambda dtype: 1e12)  # now all would fit
    assert main(["run", *asked]) == 0
    assert "0 executed" in capsys.readouterr().out
    made, _ = checked(asked)
    assert made.run.limit == 10
    other, _ = checked([*asked, "minutes=3"])
    assert other.run.limit == 12


def test_a_run_that_is_killed_goes_on_with_what_it_chose(slow, tmp_path, monkeypatch):
    asked = words(tmp_path, "methods=[dense]", "limit=12", "minutes=2.2")
    made, _ = checked(asked, settle=True)  # what `run` does before its first step
    monkeypatch.setattr(forecast, "machine_rate", lambda dtype: 1e12)
    again, _ = checked(asked)
    assert [node.key for node in again.steps()] == [node.key for node in made.steps()]
