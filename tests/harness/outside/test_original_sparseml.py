"""The original sparseml 1.8, checkpoint in, checkpoint out.

Its Wanda is llm-compressor's and ours, to the bit.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from runs import ran
from safetensors.torch import load_file

from harness.outside import environments

pytestmark = pytest.mark.original
OURS, SUCCESSOR, ORIGINAL = (
    "wanda(pattern=2:4)",
    "sparseml:wanda_2of4",
    "sparseml:original_wanda_2of4(engine=sparseml)",
)


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    if "sparseml" not in environments.known() and not os.environ.get("CI"):
        pytest.skip("needs sparseml's own environment: harness env create sparseml")
    methods = ",".join(f'"{method}"' for method in (OURS, SUCCESSOR, ORIGINAL, f"llm_pruner+{ORIGINAL}"))
    return ran(tmp_path_factory.mktemp("original"), f"methods=[{methods}]", "budgets=[0.8]", "quantizers=[none]")


def test_its_wanda_gives_the_weights_of_llm_compressor_and_of_ours(table):
    *_, rows = table
    named = {row["variant"]: row for row in rows}
    ours, successor, original = (
        load_file(Path(named[name]["checkpoint"]) / "model.safetensors") for name in (OURS, SUCCESSOR, ORIGINAL)
    )
    assert ours.keys() == successor.keys() == original.keys()
    assert all(original[name].equal(successor[name]) and original[name].equal(ours[name]) for name in ours)
    assert any((weight == 0).float().mean() == 0.5 for weight in original.values())
    assert named[ORIGINAL]["simulated"]
    assert named[ORIGINAL]["calibration_tokens"] == named[OURS]["calibration_tokens"] > 0


def test_what_it_cannot_take_is_a_row_that_says_why(table):
    _, _, summary, rows = table
    assert rows[-1]["status"] == "failed"
    (reason,) = set(summary.failed.values())
    assert reason.endswith("the original sparseml takes llama, mistral, qwen2 checkpoints, not per_layer_llama")
