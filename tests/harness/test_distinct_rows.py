"""A table has one row for each checkpoint, and one name for each row."""

from __future__ import annotations

import pytest
from outside_commands import COPY, written
from runs import planned

from harness.config import ConfigErrors


def names(tmp_path, *words: str) -> tuple[list[str], list[str]]:
    made, _ = planned(tmp_path, "quantizers=[none]", "measure.speed=false", *words)
    assert len({variant.checkpoint.key for variant in made.variants}) == len(made.variants)
    return [variant.name for variant in made.variants], made.notices


def test_equal_budgets_are_one_row_and_the_plan_says_so(tmp_path):
    actual, notices = names(tmp_path, "methods=[magnitude]", "budgets=[0.8,0.8,0.5]")
    assert actual == ["dense", "magnitude@0.8", "magnitude@0.5"]
    assert "magnitude@0.8 is written twice; it is one row" in notices


def test_a_recipe_written_otherwise_is_one_row_and_the_plan_says_so(tmp_path):
    methods = 'methods=[dense,"dense()","magnitude(budget=0.8)",magnitude]'
    actual, notices = names(tmp_path, methods, "budgets=[0.8]")
    assert actual == ["dense", "magnitude(budget=0.8)"]
    assert "magnitude@0.8 is magnitude(budget=0.8) written otherwise; it is one row" in notices
    assert "dense() is dense written otherwise; it is one row" in notices


def test_equal_quantizers_are_one_row(tmp_path):
    made, _ = planned(tmp_path, "methods=[dense]", "quantizers=[int8,none,int8]", "measure.speed=false")
    assert [variant.name for variant in made.variants] == ["dense+int8", "dense"]


@pytest.mark.parametrize("budgets", ["[0.8,0.8000001]", "[0.50000001,0.5]"])
def test_budgets_that_a_name_cannot_tell_apart_are_refused(tmp_path, budgets):
    with pytest.raises(ConfigErrors, match="^2 different variants would be called magnitude@0"):
        planned(tmp_path, "methods=[magnitude]", f"budgets={budgets}", "quantizers=[none]")


def test_files_of_one_name_that_differ_are_refused(tmp_path):
    files = [written(tmp_path / place, COPY + f"# {place}\n") for place in ("a", "b")]
    methods = ",".join(f"'external:{file}'" for file in files)
    with pytest.raises(ConfigErrors, match="^2 different variants would be called external:mine"):
        planned(tmp_path, f"methods=[{methods}]", "quantizers=[none]")
