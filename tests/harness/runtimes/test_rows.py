"""Runtimes beside torch: rows of their own, measured where they run.

They are scored with the weights that are deployed.
"""

import numpy as np
import pyarrow.parquet as pq
import pytest
from runs import planned, ran

from harness import weights
from harness.config import ConfigErrors
from harness.machine import environment
from harness.models.described import of_config
from harness.runtimes.all_runtimes import runtime
from harness.runtimes.llamacpp import LlamaCpp
from harness.runtimes.openvino import OpenVino
from reports.run import notes

QUICK = ("methods=[middle]", "budgets=[0.8]", "quantizers=[none,int8,q4_0]", "runtimes=[torch,llamacpp,openvino]")
ENDS = ("", "+int8", ":llamacpp", "+q4_0:llamacpp", ":openvino", "+int8:openvino")
NAMES = [f"{recipe}{end}" for recipe in ("dense", "middle@0.8") for end in ENDS]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    return ran(tmp_path_factory.mktemp("run"), *QUICK)


@pytest.fixture(scope="module")
def rows(finished):
    return {row["variant"]: row for row in finished[3]}


def test_every_pair_that_makes_sense_is_a_row_and_others_are_told(finished, rows):
    assert list(rows) == NAMES
    assert all(row["status"] == "ok" for row in rows.values())
    assert finished[0].notices[-3:] == [
        "no rows in torch for q4_0: it lives in llamacpp",
        "no rows in llamacpp for int8: it lives in openvino, torch",
        "no rows in openvino for q4_0: it lives in llamacpp",
    ]


def test_a_row_says_its_runtime(rows):
    assert [row["runtime"] for row in rows.values()] == [
        "torch",
        "torch",
        "llamacpp",
        "llamacpp",
        "openvino",
        "openvino",
    ] * 2


def test_the_weights_of_a_checkpoint_are_scored_once(finished):
    by_name = {variant.name: variant for variant in finished[0].variants}
    keys = {name: variant.measures["evaluate"].key for name, variant in by_name.items()}
    assert keys["dense"] == keys["dense:llamacpp"] == keys["dense:openvino"]
    assert len(set(keys.values())) == 8


def answers(finished, name):
    made, store, _, _ = finished
    key = next(each for each in made.variants if each.name == name).measures["evaluate"].key
    rows = pq.read_table(store.file(key, "items.parquet")).to_pylist()
    return np.array([value for row in rows for value in row["loglikelihoods"]])


@pytest.mark.parametrize("name", ["dense+q4_0:llamacpp", "dense+int8:openvino"])
def test_fewer_bits_are_scored_as_the_file_holds_them(name, finished):
    dense, fewer = answers(finished, "dense"), answers(finished, name)
    assert 0 < np.abs(fewer - dense).max() < 0.1 * np.abs(dense).max()


def test_sizes_are_those_of_the_file_and_parameters_those_of_the_model(finished, rows):
    _, store, _, _ = finished
    for variant in finished[0].variants:
        if variant.runtime != "torch":
            size = runtime(variant.runtime).size(store.folder(variant.checkpoint.key) / "artifact")
            assert rows[variant.name]["bytes_on_disk"] == size
            assert (
                rows[variant.name]["parameters"]
                == rows[variant.recipe + ("@0.8" if variant.budget else "")]["parameters"]
            )
    assert rows["dense+q4_0:llamacpp"]["bytes_on_disk"] < 0.4 * rows["dense:llamacpp"]["bytes_on_disk"]


@pytest.mark.parametrize("place", ["llamacpp", "openvino"])
def test_memory_is_that_of_a_process_without_torch(place, rows):
    assert rows[f"dense:{place}"]["peak_memory_bytes"] < 0.5 * rows["dense"]["peak_memory_bytes"]


def test_both_references_of_a_speed_are_in_the_row(rows):
    for name, row in rows.items():
        own, of_torch = row["decode_ratio"], row["decode_of_torch"]
        assert row["decode_of_torch_low"] <= of_torch <= row["decode_of_torch_high"]
        assert (own == of_torch) == (":" not in name)


def test_the_ratio_to_torch_is_of_the_same_rounds(finished):
    _, store, _, _ = finished
    variant = next(each for each in finished[0].variants if each.name == "middle@0.8:llamacpp")
    result = store.result(variant.measures["speed"].key)
    samples, ratios = result["samples"]["decode_b1"], result["ratios"]["decode_b1"]
    assert len(samples["torch_seconds"]) == len(samples["seconds"]) == 2
    assert min(samples["torch_seconds"]) / max(samples["seconds"]) <= ratios["of_torch"]["ratio"]
    assert ratios["of_torch"]["ratio"] <= max(samples["torch_seconds"]) / min(samples["seconds"])


def test_the_runtime_agrees_with_torch_on_its_own_weights(rows):
    assert "runtime_kl" not in rows["dense"]
    assert rows["dense:llamacpp"]["runtime_kl"] < 1e-5
    assert rows["dense:llamacpp"]["perplexity_drift"] < 1e-3
    assert rows["dense+q4_0:llamacpp"]["runtime_kl"] < 1e-2
    assert rows["dense+q4_0:llamacpp"]["same_first"] > 0.9
    assert rows["dense:openvino"]["runtime_kl"] < 1e-3  # bfloat16, where the processor has it
    assert rows["dense+int8:openvino"]["runtime_kl"] < 1e-2


def test_a_report_says_what_such_rows_are(finished):
    lines = notes.notes(finished[3], {})
    assert any(line.startswith(":llamacpp rows: size, memory and speed in that runtime") for line in lines)
    assert any("to dense in the same runtime (of torch: to dense in torch)" in line for line in lines)


def test_artifacts_are_weights_that_can_be_let_go_and_made_again(finished):
    made, store, _, _ = finished
    nodes = made.steps()
    kinds = {node.step.KIND for node in nodes if node.key in weights.to_let_go(nodes, (), store)}
    assert {"convert", "requantize", "compress", "quantize"} <= kinds
    evaluate = next(each for each in made.variants if each.name == "dense+q4_0:llamacpp").measures["evaluate"]
    assert {node.step.KIND for node in weights.read_by(evaluate, store)} == {"import", "requantize"}


def test_a_run_without_runtimes_has_the_rows_and_keys_it_had(tmp_path):
    one, _ = planned(tmp_path, "methods=[middle]", "budgets=[0.8]", "quantizers=[none]")
    two, _ = planned(tmp_path, "methods=[middle]", "budgets=[0.8]", "quantizers=[none]", "runtimes=[torch,llamacpp]")
    shared = [variant for variant in two.variants if variant.runtime == "torch"]
    assert [variant.name for variant in one.variants] == [variant.name for variant in shared]
    for before, now in zip(one.variants, shared, strict=True):
        assert {name: node.key for name, node in before.measures.items()} == {
            name: node.key for name, node in now.measures.items()
        }


def refused(tmp_path, *more):
    with pytest.raises(ConfigErrors) as told:
        planned(tmp_path, "methods=[middle]", "budgets=[0.8]", *more)
    return told.value.lines


def test_an_unknown_runtime_is_refused_with_the_nearest_name(tmp_path):
    assert refused(tmp_path, "runtimes=[lamacpp]", "quantizers=[none]") == [
        "runtimes: 'lamacpp' is unknown; did you mean llamacpp?"
    ]


def test_a_runtime_that_is_not_installed_is_refused_with_the_command_that_installs_it(tmp_path, monkeypatch):
    monkeypatch.setattr(LlamaCpp, "version", lambda: "absent")
    [line] = refused(tmp_path, "runtimes=[torch,llamacpp]", "quantizers=[none]")
    assert line == (
        "runtimes: llamacpp: needs cyllama, which is not installed: pip install '.[llamacpp]'; or leave llamacpp out"
    )


def test_a_library_that_quantizes_and_is_not_installed_is_refused_too(tmp_path, monkeypatch):
    monkeypatch.setattr(environment, "version", lambda name: "absent" if name == "nncf" else "1.0")
    assert OpenVino.unavailable() == "needs nncf, which is not installed: pip install '.[openvino]'"


def test_a_quantizer_that_lives_in_no_runtime_of_the_run_is_refused(tmp_path):
    [line] = refused(tmp_path, "quantizers=[none,q8_0]")
    assert line == "quantizer q8_0 lives in llamacpp, and runtimes=torch; add it"


def test_a_method_whose_results_a_runtime_cannot_compute_has_no_row_there(tmp_path):
    made, _ = planned(tmp_path, "methods=[slicegpt]", "budgets=[0.8]", "quantizers=[none]", "runtimes=[torch,llamacpp]")
    assert [variant.name for variant in made.variants] == ["dense", "dense:llamacpp", "slicegpt@0.8"]
    assert made.notices[-1] == "slicegpt has no row in llamacpp: llama.cpp has no architecture for what slicegpt makes"


def test_what_slicegpt_makes_has_a_row_in_openvino(tmp_path):
    made, _ = planned(tmp_path, "methods=[slicegpt]", "budgets=[0.8]", "quantizers=[none]", "runtimes=[openvino]")
    assert [variant.name for variant in made.variants] == ["dense:openvino", "slicegpt@0.8:openvino"]


def test_a_run_in_llamacpp_alone_has_its_dense_row_there(tmp_path):
    made, _ = planned(tmp_path, "methods=[middle]", "budgets=[0.8]", "quantizers=[none]", "runtimes=[llamacpp]")
    assert [variant.name for variant in made.variants] == ["dense:llamacpp", "middle@0.8:llamacpp"]


@pytest.mark.parametrize(
    ("change", "place", "word"),
    [
        ({"sliding_window": 512, "family": "mistral"}, "llamacpp", "the last 512 tokens only"),
        ({"rope_parameters": {"rope_type": "dynamic", "factor": 2.0}}, "llamacpp", "scaled as dynamic are not written"),
        ({"rope_scaling": {"type": "dynamic", "factor": 2.0}}, "openvino", "scaled as dynamic change with the length"),
        ({"hidden_act": "gelu"}, "openvino", "no activation gelu"),
        ({"sliding_window": 512, "family": "mistral"}, "openvino", ""),
        ({"rope_parameters": {"rope_type": "llama3"}}, "llamacpp", ""),
        ({"sliding_window": 512, "family": "qwen2"}, "llamacpp", ""),  # which does not use it
        (
            {"sliding_window": 512, "use_sliding_window": True, "family": "qwen2"},
            "llamacpp",
            "the last 512 tokens only",
        ),
        ({"sliding_window": 4096, "family": "mistral"}, "llamacpp", ""),  # as long as the model's positions
    ],
)
def test_what_a_runtime_does_not_compute_is_known_before_the_work(change, place, word):
    config = {"model_type": change.get("family", "llama"), "max_position_embeddings": 4096, **change}
    told = runtime(place).refuses(of_config(config), [])
    assert word in told
    assert bool(told) == bool(word)
