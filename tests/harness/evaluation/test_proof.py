"""The packed scorer proves itself on each model.

Where it cannot, lm-eval's own scorer takes its place, and the table says so.
"""

from __future__ import annotations

import json

import pytest
import torch
from runs import planned
from transformers import AutoConfig, AutoModelForCausalLM

from harness.evaluation import proof
from harness.evaluation.evaluate import proven
from harness.evaluation.lm import StockLM, TreeLM
from harness.evaluation.proof import prove, questions, window
from harness.families.family import Family
from harness.models import checkpoint
from harness.spec import Work
from reports.run.cautions import cautions, scoring
from reports.run.tables import markdown

SIZES = {
    "vocab_size": 258,
    "hidden_size": 48,
    "intermediate_size": 96,
    "num_hidden_layers": 4,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 512,
    "initializer_range": 0.1,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "pad_token_id": 1,
}
RIGHT = {
    "llama": {},
    "mistral": {"sliding_window": 16},
    "qwen2": {"use_sliding_window": True, "sliding_window": 16, "max_window_layers": 1},
    "gemma3_text": {"sliding_window": 16, "query_pre_attn_scalar": 8},
    "olmo2": {},
}
WRONG = {
    "granite": {"residual_multiplier": 0.22, "attention_multiplier": 0.02, "logits_scaling": 8.0},
    "cohere": {"logit_scale": 0.0625},
    "gemma2": {"sliding_window": 16, "query_pre_attn_scalar": 8},
    "stablelm": {},  # its attention does not pass on what the packed one needs
    "bloom": {"num_key_value_heads": None, "head_dim": None},  # its attention is its own
}


def built(family: str, **more):
    fields = {name: value for name, value in {**SIZES, **more}.items() if value is not None}
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(AutoConfig.for_model(family, **fields)).float().eval()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("family", RIGHT)
def test_the_proof_holds_where_packed_scores_are_the_models_own(family, dtype):
    actual = prove(built(family, **RIGHT[family]).to(dtype))
    assert actual.holds, actual.why
    assert actual.largest <= (1e-4 if dtype == torch.float32 else 0.25)
    assert actual.tokens >= 18


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("family", WRONG)
def test_a_family_that_the_packed_scorer_computes_wrongly_is_scored_by_hflm_and_says_why(family, dtype):
    used, told = proven("tree", built(family, **WRONG[family]).to(dtype))
    assert used == "hflm"
    assert told["why"]


@pytest.mark.parametrize("family", ["granite", "cohere", "gemma2"])
def test_a_multiplier_is_found_by_the_figures_alone(family, monkeypatch):
    monkeypatch.setattr(proof, "known", lambda name: Family(name, scales={}))
    actual = prove(built(family, **WRONG[family]))
    assert not actual.holds
    assert actual.mean > 1e-4  # nats; rounding makes 1e-6


@pytest.mark.parametrize("width", [16, 4096])
def test_a_sliding_window_that_is_forgotten_is_found_however_wide(width, monkeypatch):
    model = built("mistral", sliding_window=width)
    assert prove(model).holds
    assert model.config.sliding_window == width
    from harness.evaluation.batches import Group

    mask = Group.mask
    monkeypatch.setattr(Group, "mask", lambda self, dtype, device, _: mask(self, dtype, device, None))
    assert not prove(model).holds


def test_the_proofs_requests_share_beginnings_and_reach_beyond_the_window_and_never_beyond_the_model():
    model = built("mistral", sliding_window=100)
    with window(model) as width:
        lengths = [len(each.inputs) for each in questions(model, width)]
    assert max(lengths) > 100
    model.config.max_position_embeddings = 20
    assert max(len(each.inputs) for each in questions(model, 100)) <= 20


def test_nan_is_no_agreement(tiny):
    model, _ = tiny
    with torch.no_grad():
        model.get_decoder().norm.weight[:] = float("nan")
    assert not prove(model).holds


def test_answers_of_a_family_with_multipliers_are_hflms_and_the_row_says_so(tiny, tmp_path):
    """The promise end to end: with scorer=tree on Granite, what is stored is what HFLM gives."""
    import pyarrow.parquet as pq

    model, tokenizer = built("granite", **WRONG["granite"]), tiny[1]
    folder = tmp_path / "granite" / "checkpoint"
    folder.mkdir(parents=True)
    tokenizer.save_pretrained(folder)
    checkpoint.save(model, folder, folder)
    made, _ = planned(tmp_path, "methods=[dense]", "quantizers=[none]")
    step = made.variants[0].measures["evaluate"].step
    actual = {}
    for name, scorer in (("asked", "tree"), ("oracle", "hflm")):
        draft, scratch = tmp_path / name, tmp_path / f"{name}.scratch"
        draft.mkdir()
        scratch.mkdir()
        work = Work(draft, scratch, None, "0" * 40, (), (), "cpu")
        work.checkpoint = lambda *_: folder
        step.model_copy(update={"scorer": scorer}).run(work)
        actual[name] = work.result, pq.read_table(draft / "items.parquet").to_pylist()
    assert actual["asked"][1] == actual["oracle"][1]
    told = actual["asked"][0]["scorer"]
    assert (told["asked"], told["used"]) == ("tree", "hflm")
    assert "logits_scaling" in told["why"]
    assert json.dumps(told)
    wrong = [each[0] for each in TreeLM(model, tokenizer).loglikelihood(_asked())]
    right = [each[0] for each in StockLM(model, tokenizer).loglikelihood(_asked())]
    assert wrong != pytest.approx(right, rel=1e-3)


def _asked():
    from lm_eval.api.instance import Instance

    return [Instance("loglikelihood", {}, ("the cat", " sat"), 0), Instance("loglikelihood", {}, ("the", " dog"), 1)]


def test_the_head_of_a_table_names_the_rows_that_another_scorer_scored_and_why():
    rows = [
        {"variant": "dense", "status": "ok", **scoring({"scorer": {"used": "hflm", "why": "logits_scaling (8.0)"}})},
        {"variant": "wanda", "status": "ok", **scoring({"scorer": {"used": "tree", "why": "", "largest": 1e-6}})},
    ]
    [words] = cautions(rows)
    assert words.startswith("dense: ")
    assert "HFLM" in words
    assert "logits_scaling (8.0)" in words
    text = markdown(rows, {"tasks": []})
    assert text.index("HFLM") < text.index("| dense")
    assert not cautions([rows[1]])


def test_a_search_refuses_a_model_whose_packed_scores_are_wrong(tmp_path, tiny_folder, monkeypatch):
    from harness.nas import search_step

    monkeypatch.setattr(proof, "prove", lambda _: proof.Proof("they differ by 3 nats"))
    work = Work(tmp_path, tmp_path, None, "0" * 40, (), (), "cpu")
    work.checkpoint = lambda *_: tiny_folder
    with pytest.raises(ValueError, match="differ by 3 nats"):
        search_step.load(work, "fine")
