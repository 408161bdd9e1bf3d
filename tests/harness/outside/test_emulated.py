"""Quantized values that are computed in floating point carry a mark.

They stand on no front of size or speed.
"""

from __future__ import annotations

import numpy as np
import pytest
from outside_commands import BYTES, run, step, written
from structured_models import TOKENS

from baselines.sparseml import SparseML
from harness.models import checkpoint
from harness.models.random_llama import build
from harness.outside import sparse_recipes
from harness.outside.run_recipe import apply
from reports.page.charts import hover
from reports.page.sections import badges
from reports.pareto import front_mask
from reports.run.method_fronts import method_fronts
from reports.run.notes import marks, notes
from reports.run.points import AXES, points


def row(name: str, size: int, average: float, **more: object) -> dict:
    speeds = ("decode_ratio", "prefill_ratio", "decode_of_torch", "prefill_of_torch")
    ratios = {**dict.fromkeys(speeds, 1e9 / size), "peak_memory_bytes": size, "parameters": size}
    actual = {"variant": name, "method": name, "recipe": name, "quantizer": "none", "status": "ok"}
    joules = {f"{phase}_joules": size / 50 for phase in ("prefill", "decode")}
    return actual | ratios | joules | {"bytes_on_disk": size, "average": average, **more}


ROWS = [row("dense", 100, 0.6), row("pretend", 10, 0.7, emulated=True), row("small", 50, 0.5)]


@pytest.mark.parametrize("axis", AXES, ids=lambda axis: axis.key)
def test_an_emulated_row_is_on_no_front_and_drawn_hollow(axis):
    assert front_mask(ROWS, axis.key) == [True, False, True]
    assert [point.hollow for point in points(ROWS, axis)] == [False, True, False]


def test_an_emulated_row_is_marked_and_the_mark_explained():
    assert marks(ROWS[1], on_front=False) == "emu"
    assert any(note.startswith("emu: emulated") for note in notes(ROWS, {}))
    assert not any(note.startswith("emu") for note in notes(ROWS[::2], {}))
    assert ">emulated</i>" in badges(ROWS[1], star=False)
    assert "emulated" in hover(points(ROWS, AXES[0])[1], ROWS, {})


def test_an_emulated_row_adds_nothing_to_a_methods_hypervolume():
    actual = method_fronts(ROWS, np.full((5, 3), 0.5))
    assert [each.recipe for each in actual] == ["small"]


@pytest.mark.parametrize(
    ("name", "emulated"),
    [("w8a8", True), ("smoothquant_w8a8", True), ("gptq_w4a16", True), ("wanda_2of4", False), ("sparsegpt_50", False)],
)
def test_a_recipe_that_quantizes_is_known_before_it_runs(name, emulated):
    pytest.importorskip("llmcompressor")
    method = SparseML(recipe=name)
    assert (method.emulated, method.simulated) == (emulated, not emulated)


@pytest.fixture
def quantized(tiny_folder, tmp_path):
    """A checkpoint with packed weights, which `checkpoint.load` turns into floating point."""
    pytest.importorskip("llmcompressor")
    model = checkpoint.load(tiny_folder)
    apply(model, sparse_recipes.read("w8a8"), TOKENS, build()[1], tmp_path / "recipe.yaml")
    checkpoint.save(model, tmp_path / "packed", tiny_folder)
    assert checkpoint.dequantized(tmp_path / "packed")
    return tmp_path / "packed"


def test_what_a_command_brings_back_quantized_is_emulated(quantized, tiny_folder, tmp_path):
    script = f"import shutil, sys\nshutil.copytree({str(quantized)!r}, sys.argv[2])\n"
    made = step(written(tmp_path / "theirs", script))
    assert run(tmp_path, tiny_folder, made).result["emulated"] is True


def test_what_a_command_brings_back_in_floating_point_is_not(tiny_folder, tmp_path):
    assert run(tmp_path, tiny_folder, step(written(tmp_path / "theirs", BYTES))).result["emulated"] is False
