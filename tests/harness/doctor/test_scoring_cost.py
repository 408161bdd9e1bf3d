"""What scoring costs is counted against a floor that nothing can go below, and stays close to it."""

from __future__ import annotations

import json
import random

import pytest
from lm_eval.api.instance import Instance

from harness.cli import main
from harness.doctor.flops import counting, floor_flops
from harness.doctor.scoring_cost import measure
from harness.evaluation.batches import pack
from harness.evaluation.scorer import score
from harness.evaluation.trie import Request, floor


def questions(count: int, header: int, length: int, answers: int) -> list[Request]:
    rng = random.Random(0)
    start = tuple(rng.choices(range(2, 258), k=header))
    made = []
    for _ in range(count):
        context = start + tuple(rng.choices(range(2, 258), k=length))
        made += [Request(context, tuple(rng.choices(range(2, 258), k=3))) for _ in range(answers)]
    return made


def counted(model, requests: list[Request], budget: int = 2048) -> int:
    batches = pack(requests, budget=budget)
    with counting() as counter:
        score(model, batches, len(requests))
    return counter.get_total_flops()


def test_a_single_token_costs_exactly_the_floor(tiny):
    model, _ = tiny
    requests = [Request((5,), (7,))]
    rotation = 2 * 4  # the angles of its position: half the head's width
    assert counted(model, requests) == floor_flops(model, floor(requests)) + rotation


@pytest.mark.parametrize("shape", [(40, 0, 60, 4), (40, 300, 60, 4), (60, 500, 50, 1), (1, 0, 1500, 2)])
def test_scoring_stays_within_a_seventh_of_the_floor(tiny, shape):
    """The tiny model is all attention (64 wide).

    The share of masked products in a real model is a tenth of this.
    """
    model, _ = tiny
    requests = questions(*shape)
    least = floor(requests)
    products = 4 * sum(layer.self_attn.q_proj.out_features for layer in model.get_decoder().layers) * least.pairs
    spent = counted(model, requests, budget=512)
    assert floor_flops(model, least) <= spent
    assert spent - floor_flops(model, least) <= 0.02 * floor_flops(model, least) + 1.6 * products


def test_the_floor_of_a_slice_is_lower(tiny):
    from harness.nas.architecture import Architecture, Block
    from harness.nas.supernet import extracted

    model, _ = tiny
    least = floor(questions(5, 0, 20, 2))
    narrow = extracted(
        model, Architecture(64, tuple(Block(4 if width else 0, width) for width in (80, 80, 0, 80, 160, 160)))
    )
    assert floor_flops(narrow, least) < floor_flops(model, least)


def test_both_engines_are_measured_on_the_same_requests(tiny):
    model, tokenizer = tiny
    pairs = [(f"the cat {index}", answer) for index in range(6) for answer in (" sat", " ran far", " ")]
    asked = [Instance("loglikelihood", {}, pair, index) for index, pair in enumerate(pairs)]
    actual = measure("cats", model, tokenizer, asked, rounds=2)
    assert actual.requests == len(pairs)
    assert 1.0 <= actual.above_floor < 1.3
    assert actual.ratio("flops") > 1.2
    for cost in actual.costs.values():
        assert (len(cost.cpu), len(cost.wall), len(cost.peak)) == (2, 2, 2)
        assert min(cost.cpu) > 0


def test_the_command_prints_a_line_a_task_and_their_sum(tmp_path, capsys):
    words = ["suite=demo", "model=random-llama", "limit=2", "rounds=1", "tasks=demo_piqa,demo_arc_easy"]
    assert main(["doctor", "scoring", *words, f"store={tmp_path}", "format=markdown"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("|")[1].strip() for line in lines if line.startswith("|")][2:] == [
        "demo\\_piqa",
        "demo\\_arc\\_easy",
        "all",
    ]
    assert main(["doctor", "scoring", *words, f"store={tmp_path}", "format=json"]) == 0
    actual = json.loads(capsys.readouterr().out)
    assert all(result["costs"]["tree"]["flops"] >= result["floor_flops"] > 0 for result in actual)
