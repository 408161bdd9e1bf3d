"""The shape of a published model.

Its exact sizes, its members in the paper's space, and turns that favour nobody.
"""

from __future__ import annotations

import json

import pytest
import torch

from harness.cli import main
from harness.doctor import geometries as shapes
from harness.doctor.members import corners, mixes
from harness.nas.space import Space
from harness.nas.spaces import axes
from harness.nas.supernet import Elastic, body, extracted


def space(model) -> Space:
    count = model.config.num_hidden_layers
    return Space(body(model, range(count - 2, 0, -1)), axes("llama_nas"), lowest=0.0)


def empty(geometry: str):
    from transformers import LlamaConfig, LlamaForCausalLM

    with torch.device("meta"):
        return LlamaForCausalLM(LlamaConfig(**shapes.GEOMETRIES[geometry]))


@pytest.fixture(scope="module")
def tiny_shape():
    return shapes.build("tiny", dtype="bfloat16", device="cpu", seed=0)


@pytest.mark.parametrize(
    ("geometry", "parameters"),
    [("llama-2-7b", 6_738_415_616), ("llama-3-8b", 8_030_261_248), ("smollm2-135m", 134_515_008)],
)
def test_a_geometry_has_the_parameters_that_its_model_card_tells(geometry, parameters):
    assert space(empty(geometry)).body.dense == parameters


def test_the_corners_of_the_papers_space_have_its_sizes():
    actual = space(empty("llama-2-7b"))
    sizes = {name: actual.body.parameters(one) / 1e9 for name, one in corners(actual).items()}
    assert sizes == {
        "32 layers, 0 narrow": pytest.approx(6.738, abs=5e-4),
        "32 layers, 32 narrow": pytest.approx(4.574, abs=5e-4),
        "24 layers, 0 narrow": pytest.approx(5.119, abs=5e-4),
        "24 layers, 24 narrow": pytest.approx(3.496, abs=5e-4),
    }


@pytest.mark.parametrize("geometry", ["llama-2-7b", "smollm2-135m", "tiny"])
def test_mixes_are_smaller_by_half_within_a_percent_at_several_depths(geometry):
    actual = space(empty(geometry))
    chosen = mixes(actual, 1 / 1.5, 2, seed=0)
    assert len(chosen) == len(set(chosen.values())) == 4
    assert len({len(one.kept()) for one in chosen.values()}) == 2
    for name, one in chosen.items():
        assert actual.body.parameters(one) == pytest.approx(actual.body.dense / 1.5, rel=0.01)
        widths = [one.blocks[index].width for index in one.kept()]
        assert name.startswith(f"{len(widths)} layers, {sum(width < max(widths) for width in widths)} narrow")


def test_weights_are_built_in_their_dtype_and_every_one_is_written(tiny_shape):
    for name, weight in tiny_shape.named_parameters():
        assert weight.dtype == torch.bfloat16, name
        if weight.dim() == 1:
            assert (weight == 1).all(), name
        else:
            assert 0.01 < weight.float().std() < 0.03, name
            assert not torch.equal(weight[0], weight[1]), name
    assert tiny_shape.get_output_embeddings().weight is tiny_shape.get_input_embeddings().weight
    with torch.inference_mode():
        assert tiny_shape(torch.arange(9)[None]).logits.isfinite().all()


def test_the_same_weights_loaded_by_transformers_give_the_same_bits(tiny_shape, tmp_path):
    """A model from `meta` has no rotary frequencies unless they are made anew."""
    from transformers import LlamaForCausalLM

    tiny_shape.save_pretrained(tmp_path)
    again = LlamaForCausalLM.from_pretrained(tmp_path, dtype="auto")
    ids = torch.arange(40)[None]
    with torch.inference_mode():
        assert torch.equal(tiny_shape(ids).logits, again(ids).logits)


def test_a_member_in_place_gives_the_bits_of_its_copy(tiny_shape):
    actual = space(tiny_shape)
    for one in [*corners(actual).values(), *mixes(actual, 1 / 1.5, 1, seed=0).values()]:
        copy = extracted(tiny_shape, one)
        ids = torch.arange(40)[None]
        with torch.inference_mode():
            alone = copy.generate(ids, max_new_tokens=4, do_sample=False, pad_token_id=0)
            with Elastic(tiny_shape) as elastic:
                elastic.activate(one)
                assert torch.equal(tiny_shape(ids).logits, copy(ids).logits)
                assert torch.equal(tiny_shape.generate(ids, max_new_tokens=4, do_sample=False, pad_token_id=0), alone)


def test_what_does_not_fit_is_refused_before_it_is_built(monkeypatch, capsys):
    monkeypatch.setattr(shapes, "free_bytes", lambda device: 12 * 10**9)
    monkeypatch.setattr(torch.nn.Module, "to_empty", lambda self, device: pytest.fail("memory was taken"))
    assert main(["doctor", "shapes", "geometry=llama-2-7b"]) == 2
    told = capsys.readouterr().err
    assert "llama-2-7b in bfloat16 needs 14.2 GB (13.5 GB of weights), and 12.0 GB are free" in told
    assert len(told.splitlines()) == 1


def test_every_member_runs_beside_dense_and_each_goes_first_equally_often(monkeypatch):
    asked = []
    monkeypatch.setattr(shapes, "generate_seconds", lambda *_: (asked.append("run"), (1.0, 2.0))[1])
    members = {name: (lambda name=name: asked.append(name)) for name in ("a", "b")}
    turns = shapes.alternating(
        None, members, dense=lambda: asked.append("dense"), prompt=1, generate=1, rounds=4, told=str
    )
    next(turns)
    del asked[:16]  # the round that warms up, and the first
    assert [set(actual) for actual in turns] == [{"a", "b"}] * 3
    steps = [name for name in asked if name != "run"]
    pairs = list(zip(steps[::2], steps[1::2], strict=True))
    assert all(("dense" in pair) and pair != ("dense", "dense") for pair in pairs)
    assert [sum(pair[0] == "dense" for pair in pairs[start : start + 2]) for start in (0, 2, 4)] == [2, 0, 2]


def test_seconds_of_dense_and_of_the_member_are_not_mixed_up(monkeypatch):
    now = []
    monkeypatch.setattr(shapes, "generate_seconds", lambda *_: (now[-1], 2 * now[-1]))
    members = {"a": lambda: now.append(5.0)}
    turns = shapes.alternating(None, members, dense=lambda: now.append(9.0), prompt=1, generate=1, rounds=3, told=str)
    assert list(turns) == [{"a": ((9.0, 18.0), (5.0, 10.0))}] * 3


def test_a_target_inside_the_interval_is_left_open():
    assert [shapes.reached(*interval) for interval in ((1.3, 1.5), (1.1, 1.3), (1.0, 1.2))] == ["yes", "open", "no"]


def test_the_command_prints_a_line_a_member_labelled_shape_only(capsys):
    words = ["doctor", "shapes", "geometry=tiny", "prompt=8", "generate=1", "rounds=2"]
    assert main([*words, "format=markdown"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("shape only: tiny, random weights, bfloat16")
    names = [line.split("|")[1].strip() for line in lines if line.startswith("|")][2:]
    assert names[0] == "16 layers, 0 narrow"
    assert len(names) == len(set(names)) == 6
    assert main([*words, "format=json"]) == 0
    actual = json.loads(capsys.readouterr().out)["members"]
    assert [row["member"] for row in actual] == names
    assert all(len(row[kind]["seconds"]) == 2 for row in actual for kind in ("prefill", "decode"))


def test_an_interrupt_prints_the_rounds_that_are_done(monkeypatch, capsys):
    original = shapes.alternating

    def broken(*given, **more):
        yield next(original(*given, **more))
        raise KeyboardInterrupt

    monkeypatch.setattr(shapes, "alternating", broken)
    assert main(["doctor", "shapes", "geometry=tiny", "prompt=8", "generate=1", "format=markdown"]) == 130
    assert capsys.readouterr().out.splitlines()[-1] == "interrupted after 1 of 5 rounds"


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("geometry=llama2-7b", "geometry llama2-7b is unknown; did you mean llama-2-7b or llama-3-8b?"),
        ("geomtry=tiny", "key geomtry is unknown; did you mean geometry?"),
        ("rounds=0", "rounds must be a whole number from 1 to 1,000,000, not 0"),
        ("dtype=bf16", "dtype bf16 is unknown; did you mean bfloat16 or float16?"),
    ],
)
def test_a_wrong_word_is_told_once_with_the_nearest(capsys, word, told):
    assert main(["doctor", "shapes", word]) == 2
    assert capsys.readouterr().err == f"harness: {told}\n"
