"""Budgets in bytes: every row of a share takes that share of the dense model's bytes.

Whatever its quantizer.
"""

import pytest
from runs import planned
from structured_models import made

from harness.bytes_budget import Outline, budget
from harness.config import ConfigErrors
from harness.models import random_llama
from harness.models.anatomy import parameter_count
from harness.models.size import resident_bytes
from harness.quantizers.gguf_types import Q4_0, Q8_0
from harness.quantizers.int4 import Int4
from harness.quantizers.int8 import Int8
from harness.runtimes.llamacpp import LlamaCpp
from harness.runtimes.openvino import OpenVino
from reports.run.cautions import cautions

MODEL = Outline(parameters=1_000_000, tokens=1000, hidden=100, tied=True)
SIZES = {"hidden_size": 256, "intermediate_size": 1024, "num_hidden_layers": 6, "head_dim": 32}


@pytest.mark.parametrize("bits", [(16.0, 16.0), (4.5, 8.5), (8.5, 8.5)])
@pytest.mark.parametrize("share", [0.2, 0.35, 0.5])
def test_a_budget_takes_the_bytes_that_it_is_for(share, bits):
    kept = budget(share, MODEL, bits, header=5000)
    inside = kept * MODEL.parameters - MODEL.outside
    taken = inside * bits[0] / 8 + MODEL.outside * bits[1] / 8 + 5000
    assert taken == pytest.approx(share * 2 * MODEL.parameters, abs=1e-4 * MODEL.parameters * bits[0] / 8)


def test_embeddings_that_take_more_leave_no_budget_and_a_smaller_model_needs_none():
    assert budget(0.05, MODEL, (4.5, 16.0), header=0) is None
    assert budget(0.5, MODEL, (4.5, 4.5), header=0) > 1
    assert budget(0.5, MODEL._replace(tied=False), (16.0, 16.0), header=0) == 0.5


@pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])
@pytest.mark.parametrize(
    ("place", "kind"), [(LlamaCpp, Q8_0), (LlamaCpp, Q4_0), (OpenVino, Int8), (OpenVino, Int4), (OpenVino, None)]
)
def test_files_are_as_large_as_budgets_think(place, kind, tied, tmp_path):
    model = made("llama", tied=tied, **SIZES)
    folder = tmp_path / "whole"
    place.convert(model, random_llama.build()[1], folder)
    if kind:
        folder = tmp_path / kind.NAME
        place.quantize(tmp_path / "whole", folder, kind.NAME)
    count, config = parameter_count(model), model.config
    angles = config.max_position_embeddings * (config.hidden_size // config.num_attention_heads)
    size = Outline(count, 258, 256, tied, config.num_hidden_layers, angles)
    share = place.size(folder) / (2 * count)
    kept = budget(share, size, place.bits(kind() if kind else None, 32, size), place.header(size))
    assert kept == pytest.approx(1, abs=0.02)
    assert resident_bytes(model) == 4 * count


def test_each_quantizer_has_its_own_budget_at_one_size(tmp_path):
    words = ("methods=[middle]", "bytes=[0.5]", "quantizers=[none,int8,q8_0]", "runtimes=[torch,llamacpp]")
    plan, _ = planned(tmp_path, *words)
    pruned = {(each.quantizer, each.runtime): each for each in plan.variants if each.recipe == "middle"}
    assert list(pruned) == [("none", "torch"), ("int8", "torch"), ("none", "llamacpp"), ("q8_0", "llamacpp")]
    assert {each.bytes for each in pruned.values()} == {0.5}
    budgets = [each.budget for each in pruned.values()]
    assert budgets[0] == 0.25  # the run computes in 32 bits
    assert budgets[2] < budgets[0] < budgets[1] < budgets[3] < 1
    assert pruned["q8_0", "llamacpp"].name == f"middle@{budgets[3]:g}+q8_0:llamacpp"
    assert [each.name for each in plan.variants][:4] == ["dense", "dense+int8", "dense:llamacpp", "dense+q8_0:llamacpp"]


def test_what_takes_no_more_unpruned_or_saves_no_bytes_is_told(tmp_path):
    words = ("methods=[middle,wanda]", "bytes=[0.5]", "quantizers=[q4_0]", "runtimes=[llamacpp]")
    plan, _ = planned(tmp_path, *words)
    assert [each.name for each in plan.variants] == ["dense+q4_0:llamacpp"]
    assert plan.notices[-2:] == [
        "no pruned rows at bytes=0.5 with q4_0 in llamacpp: the whole model takes less",
        "wanda has no rows at bytes: it writes zeros, which take as many",
    ]


def test_null_is_no_budget_in_bytes(tmp_path):
    plan, _ = planned(tmp_path, "methods=[middle]", "bytes=null", "budgets=[0.8]", "quantizers=[none]")
    assert [(each.name, each.bytes) for each in plan.variants] == [("dense", None), ("middle@0.8", None)]


def test_two_ways_of_saying_how_small_are_refused(tmp_path):
    with pytest.raises(ConfigErrors, match="bytes and budgets are two ways to say how small; write one"):
        planned(tmp_path, "methods=[middle]", "bytes=[0.5]", "budgets=[0.8]")


def test_a_row_that_misses_its_bytes_is_told():
    dense = {"variant": "dense", "method": "dense", "quantizer": "none", "parameters": 1000, "status": "ok"}
    row = {"variant": "a", "method": "m", "quantizer": "q4_k_m", "bytes_asked": 0.5, "status": "ok"}
    assert cautions([dense, row | {"bytes_on_disk": 1010}]) == []
    assert cautions([dense, row | {"bytes_on_disk": 1100}]) == [
        "a: 55.0% of the dense bytes in 16 bits, not the 50% asked for."
    ]
