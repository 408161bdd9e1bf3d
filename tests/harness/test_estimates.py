"""What a plan says beforehand of its disk: bytes of checkpoints, and a refusal where they do not fit."""

from __future__ import annotations

import shutil
from collections import namedtuple

import pytest
from runs import planned, ran, words

from harness import forecast
from harness.cli import main
from harness.models import source
from harness.models.anatomy import parameter_count

Usage = namedtuple("Usage", "total used free")


def shares(made):
    return {variant.name: forecast.share(variant.checkpoint) for variant in made.variants}


def test_a_checkpoint_takes_its_budget_of_the_dense_one_and_no_more_than_what_it_was_made_from(tmp_path):
    made, _ = planned(
        tmp_path,
        "methods=[nas,shortgpt,wanda,'shortgpt(budget=0.8)+recover(tokens=1024)']",
        "budgets=[0.5]",
    )
    assert shares(made) == {
        "dense": 1.0,
        "dense+int8": 0.75,
        "nas@0.5": 0.5,
        "nas@0.5+int8": 0.5,
        "shortgpt@0.5": 0.5,
        "shortgpt@0.5+int8": 0.5,
        "wanda@0.5": 1.0,
        "wanda@0.5+int8": 0.75,
        "shortgpt(budget=0.8)+recover(tokens=1024)": 0.8,
        "shortgpt(budget=0.8)+recover(tokens=1024)+int8": 0.75,
    }


def test_steps_that_write_no_checkpoint_take_no_disk(tmp_path):
    made, _ = planned(tmp_path, "methods=[nas]", "budgets=[0.5]")
    kinds = {node.step.KIND for node in made.steps() if not forecast.share(node)}
    assert kinds == {"search", "evaluate", "footprint", "speed"}


def test_a_folder_tells_its_parameters_without_its_weights_being_read(tiny, tiny_folder):
    assert source.resolve(str(tiny_folder)).parameters == parameter_count(tiny[0])


def test_the_estimate_is_of_the_model_asked_for_before_it_is_stored(tiny, tiny_folder, tmp_path):
    made, store = planned(tmp_path, f"model={tiny_folder}", "methods=[wanda]", "quantizers=[none]")
    count = parameter_count(tiny[0])
    assert forecast.model_parameters(made, store) == count
    budgets = len(made.run.budgets)
    assert forecast.disk(made.steps(), made, store) == (1 + budgets) * count * 4  # float32: dense, one a budget


def test_a_run_whose_checkpoints_do_not_fit_is_refused_before_anything_is_done(
    tiny_folder, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr(shutil, "disk_usage", lambda place: Usage(10**9, 10**9, 1000))
    asked = words(tmp_path, f"model={tiny_folder}", "methods=[wanda]")
    assert main(["run", *asked]) == 2
    said = " ".join(capsys.readouterr().err.split())
    for words_said in ("checkpoints take up to", "0.0 MB are free", "store=FOLDER"):
        assert words_said in said
    assert not list((tmp_path / "store" / "steps").iterdir())
    assert main(["plan", *asked]) == 0  # a plan is shown all the same


def test_what_is_stored_needs_no_more_disk(tmp_path, monkeypatch):
    made, store = ran(tmp_path, "methods=[wanda]", "quantizers=[none]", "measure.speed=false")[:2]
    monkeypatch.setattr(shutil, "disk_usage", lambda place: Usage(10**9, 10**9, 0))
    forecast.check_disk(made, store)


def test_plan_says_how_much_disk_the_checkpoints_take(tiny, tiny_folder, tmp_path, capsys):
    assert main(["plan", *words(tmp_path, f"model={tiny_folder}", "methods=[dense]", "quantizers=[none]")]) == 0
    megabytes = 4 * parameter_count(tiny[0]) / 1e6
    assert f"at most {megabytes:.1f} MB to store" in " ".join(capsys.readouterr().out.split())


@pytest.mark.real
def test_the_embedded_models_parameters_are_those_of_its_file():
    from harness.models import counted, embedded

    assert counted.in_gguf(embedded.gguf()).elements == embedded.PARAMETERS
