"""What the model cannot do is told by the plan.

Families that a method does not take, texts longer than the model reads.
"""

from __future__ import annotations

import json

import httpx
import pytest
from gguf_files import llama, write
from huggingface_hub.errors import HfHubHTTPError
from lm_eval.api.instance import Instance
from runs import words

from harness import config, graph
from harness.evaluation.lm import StockLM, TreeLM
from harness.models import checkpoint
from harness.models.described import described
from harness.models.source import ModelSource, resolve
from reports.run.cautions import cautions, scoring


def refused(*more: str, tmp_path) -> list[str]:
    with pytest.raises(config.ConfigErrors) as error:
        graph.build(config.compose(words(tmp_path, *more)))
    return error.value.lines


def rewritten(folder, **settings):
    content = json.loads((folder / "config.json").read_text()) | settings
    (folder / "config.json").write_text(json.dumps(content))
    return folder


def test_a_method_for_other_families_is_refused_before_anything_runs(tiny_folder, tmp_path):
    rewritten(tiny_folder, model_type="gpt2")
    lines = refused(f"model={tiny_folder}", "methods=[dense,wanda,nas]", tmp_path=tmp_path)
    assert lines == [
        f"{name}: {name} takes llama, mistral, qwen2, qwen3, smollm3 decoders, not gpt2" for name in ("wanda", "nas")
    ]


def test_the_dense_row_takes_every_family(tiny_folder, tmp_path):
    rewritten(tiny_folder, model_type="gpt2")
    run = config.compose(words(tmp_path, f"model={tiny_folder}", "methods=[dense]", "quantizers=[none]"))
    assert [variant.name for variant in graph.build(run).variants] == ["dense"]


def test_an_external_method_takes_the_families_that_its_file_names(tiny_folder, tmp_path):
    rewritten(tiny_folder, model_type="gpt2")
    content = {"command": ["{python}", "-c", "0", "{input}", "{output}"], "families": ["gpt2"], "name": "theirs"}
    (tmp_path / "theirs.yaml").write_text(json.dumps(content))
    recipe = f"methods=['external:{tmp_path / 'theirs.yaml'}']"
    assert graph.build(config.compose(words(tmp_path, f"model={tiny_folder}", recipe))).variants


@pytest.mark.parametrize(
    ("asked", "line"),
    [
        (["calibration.length=4096", "methods=[wanda]"], "calibration.length=4096, but the model has 2048 positions"),
        (
            ["measure.prompt_tokens=2040", "measure.generate_tokens=9"],
            "measure.prompt_tokens + measure.generate_tokens=2049, but the model has 2048 positions",
        ),
        (
            ["methods=[recover]", "settings.recover.length=3000"],
            "recover's length=3000, but the model has 2048 positions",
        ),
        (
            ["methods=[nas]", "settings.nas.length=3000", "settings.nas.training_tokens=90000"],
            "supernet's length=3000, but the model has 2048 positions",
        ),
    ],
)
def test_a_text_longer_than_the_model_reads_is_refused_before_anything_runs(asked, line, tmp_path):
    assert line in refused(*asked, tmp_path=tmp_path)


def test_what_no_method_of_the_run_looks_at_may_be_of_any_length(tmp_path):
    graph.build(config.compose(words(tmp_path, "calibration.length=4096", "methods=[magnitude]")))


def test_a_model_tells_its_family_and_positions_wherever_it_comes_from(tiny_folder, tmp_path):
    assert described(resolve("random-llama"))[:2] == ("llama", 2048)
    assert described(resolve(str(tiny_folder)))[:2] == ("llama", 2048)
    assert described(resolve(str(write(llama(), tmp_path / "it.gguf"))))[:2] == ("llama", 512)
    rewritten(
        tiny_folder, model_type="gemma3", max_position_embeddings=None, text_config={"max_position_embeddings": 99}
    )
    assert described(resolve(str(tiny_folder)))[:2] == ("gemma3", 99)
    assert checkpoint.family(tiny_folder) == "gemma3"


@pytest.mark.parametrize("kind", [TreeLM, StockLM])
def test_requests_that_lose_their_beginnings_are_counted(tiny, kind):
    model, tokenizer = tiny
    model.config.max_position_embeddings = 64
    scorer = kind(model, tokenizer)
    options = {"until": ["\n"], "max_gen_toks": 4, "do_sample": False}
    pairs = [("x" * 62, "ab"), ("x" * 63, "ab"), ("x" * 64, "ab"), ("y", "ab")]  # 65 tokens are read and predicted
    scorer.loglikelihood([Instance("loglikelihood", {}, pair, index) for index, pair in enumerate(pairs)])
    assert scorer.cut_requests == 1
    texts = [("x" * 60, options), ("x" * 61, options)]
    scorer.generate_until([Instance("generate_until", {}, pair, index) for index, pair in enumerate(texts)])
    assert scorer.cut_requests == 2
    rolling = [Instance("loglikelihood_rolling", {}, ("z" * 200,), 0)]
    scorer.loglikelihood_rolling(rolling)
    assert scorer.cut_requests == 2, "running text is read in windows, and nothing of it is lost"


def test_cut_requests_and_short_windows_stand_in_the_head_of_the_table():
    result = {"scorer": {"used": "tree", "why": ""}, "reads": 512, "cut": {"gsm8k": 3}, "windows": {"wikitext2": 2048}}
    rows = [{"variant": name, "status": "ok", **scoring(result)} for name in ("dense", "wanda")]
    first, second = cautions(rows)
    assert first == (
        "all rows: requests longer than the 512 tokens that the model reads lost their beginnings, as in lm-eval: gsm8k 3."
    )
    assert second == "all rows: windows of 512 tokens, all that the model reads, not as asked: wikitext2 2048."


def test_a_hubs_model_tells_it_by_its_configuration_and_a_gated_one_is_refused(tiny_folder, monkeypatch):
    source = ModelSource(kind="hub", content="abc", place="some/model")
    asked = []

    def download(place, name, revision):
        asked.append((place, name, revision))
        return str(tiny_folder / name)

    monkeypatch.setattr("huggingface_hub.hf_hub_download", download)
    assert described(source)[:2] == ("llama", 2048)
    assert asked == [("some/model", "config.json", "abc")]

    def gated(*_, **__):
        raise HfHubHTTPError("gated", response=httpx.Response(403, request=httpx.Request("GET", "https://any")))

    monkeypatch.setattr("huggingface_hub.hf_hub_download", gated)
    with pytest.raises(ValueError, match="model=some/model: the hub answered 403"):
        described(source)


def test_a_file_that_is_no_gguf_is_refused_in_one_line(tmp_path):
    (tmp_path / "it.gguf").write_bytes(b"not one at all, but long enough to be read")
    [line] = refused(f"model={tmp_path / 'it.gguf'}", "methods=[dense]", tmp_path=tmp_path)
    assert "is no whole file of weights, or cut short" in line
