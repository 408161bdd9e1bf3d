"""The tree scorer answers what lm-eval's HFLM answers, whatever it packs together."""

from __future__ import annotations

import random
from types import SimpleNamespace

import pytest
import torch
from lm_eval.api.instance import Instance

from harness.evaluation import scorer
from harness.evaluation.scorer import TreeLM, cut, score, stock
from harness.evaluation.trie import Request, pack
from harness.pruning.extraction import Keep, extract

WORDS = ["the", "cat", "sat", "on", "a", "mat", "and", "Zürich", "then", "some", "33"]
MIXED = [
    Keep(0),
    Keep(1, torch.tensor([0, 2, 3]), torch.arange(50)),
    Keep(3, torch.tensor([1]), torch.tensor([4, 9, 90])),
]
# The norms compute in float32 even in a float64 model, and each token's number is handed on in float32 (half a unit is
# 6e-8 of it); attention, projections and sums are float64, so nothing else is left to differ.
EXACT = {"rel": 2e-7}
# Other shapes add up in another order: in float32 that moves a token by about 1e-6 nats, of 5 or more.
FLOAT32 = {"rel": 1e-6}


def likely(model, tokenizer, context: str, length: int) -> str:
    """Return what the model itself would say, "" where that is no printable text."""
    ids = tokenizer(context).input_ids
    for _ in range(length):
        ids.append(model(torch.tensor([ids])).logits[0, -1].argmax().item())
    text = tokenizer.decode(ids[-length:])
    return text if text.isascii() and text.isprintable() and " " not in text else ""


@torch.no_grad()
def questions(model, tokenizer) -> list[tuple[str, str]]:
    """Return contexts with several answers each, some of them the model's own, and an answer after nothing."""
    rng = random.Random(0)
    pairs = [("", "hello")]
    for _ in range(14):
        context = " ".join(rng.choices(WORDS, k=rng.randint(1, 20)))
        pairs += [(context, " " + " ".join(rng.choices(WORDS, k=rng.randint(1, 4)))) for _ in range(3)]
        pairs += [(context, said) for length in (1, 2) if (said := likely(model, tokenizer, context, length))]
    return pairs


def instances(pairs: list[tuple[str, ...]], kind: str = "loglikelihood") -> list[Instance]:
    return [Instance(kind, {}, pair, index) for index, pair in enumerate(pairs)]


@torch.no_grad()
def plain(model, requests: list[Request]) -> tuple[list[float], list[bool]]:
    """Return log-likelihoods and greedy flags from one ordinary forward pass a request."""
    totals, greedy = [], []
    for request in requests:
        wanted = torch.tensor(request.continuation)
        logits = model(torch.tensor([request.inputs])).logits[0, -len(wanted) :].log_softmax(-1)
        totals.append(logits.gather(1, wanted[:, None]).double().sum().item())
        greedy.append(bool((logits.argmax(1) == wanted).all()))
    return totals, greedy


def scored(model, requests: list[Request], budget: int = 2048) -> tuple[list[float], list[bool]]:
    totals, greedy = score(model, pack(requests, budget=budget), len(requests))
    return totals.tolist(), greedy.tolist()


@pytest.fixture(params=["uniform", "per layer"])
def case(request, tiny):
    """A model of equal or of per-layer widths, with its tokenizer, text pairs, and the same as token requests."""
    model, tokenizer = tiny if request.param == "uniform" else (extract(tiny[0], MIXED), tiny[1])
    pairs = questions(model, tokenizer)
    ids = [
        (tokenizer(context).input_ids or [tokenizer.eos_token_id], tokenizer(answer).input_ids)
        for context, answer in pairs
    ]
    return SimpleNamespace(
        model=model, tokenizer=tokenizer, pairs=pairs, requests=[Request(tuple(a), tuple(b)) for a, b in ids]
    )


def test_scores_are_those_of_one_plain_pass_a_request(case):
    model = case.model.double()
    totals, greedy = plain(model, case.requests)
    found = scored(model, case.requests)
    assert found[0] == pytest.approx(totals, **EXACT)
    assert found[1] == greedy
    assert 2 < sum(greedy) < len(greedy) - 2  # both kinds are there


@pytest.mark.parametrize("budget", [1, 200, 10**6])
def test_scores_do_not_depend_on_packing_or_order(case, budget):
    totals, greedy = scored(case.model, case.requests)
    order = random.Random(budget).sample(range(len(totals)), k=len(totals))
    found = scored(case.model, [case.requests[index] for index in order], budget)
    assert found[0] == pytest.approx([totals[index] for index in order], **FLOAT32)
    assert found[1] == [greedy[index] for index in order]


def test_equal_requests_get_equal_numbers(case):
    twice = [request for request in case.requests for _ in range(2)]
    totals, greedy = scored(case.model, twice)
    assert totals[::2] == totals[1::2]  # exactly: they are one node
    assert greedy[::2] == greedy[1::2]


def test_the_heads_chunks_change_nothing(case, monkeypatch):
    totals, greedy = scored(case.model, case.requests)
    monkeypatch.setattr(scorer, "HEAD_ROWS", 3)
    found = scored(case.model, case.requests)
    assert found[0] == pytest.approx(totals, **FLOAT32)
    assert found[1] == greedy


def test_every_answer_is_that_of_stock_hflm(case):
    theirs = stock(case.model, case.tokenizer).loglikelihood(instances(case.pairs), disable_tqdm=True)
    ours = TreeLM(case.model, case.tokenizer).loglikelihood(instances(case.pairs), disable_tqdm=True)
    assert [total for total, _ in ours] == pytest.approx([total for total, _ in theirs], **FLOAT32)
    assert [greedy for _, greedy in ours] == [greedy for _, greedy in theirs]
    assert 2 < sum(greedy for _, greedy in ours) < len(ours) - 2


def test_bfloat16_stays_close_to_a_plain_pass(case):
    model = case.model.bfloat16()
    totals, _ = plain(model, case.requests)
    for total, found, request in zip(totals, scored(model, case.requests)[0], case.requests, strict=True):
        # log-likelihoods of -4 to -8 nats are 1/32 apart in bfloat16: two steps a token
        assert found == pytest.approx(total, abs=len(request.continuation) / 16)


def test_long_contexts_are_cut_from_the_left_as_hflm_does(tiny):
    model, tokenizer = tiny
    model.config.max_position_embeddings = 64
    text = "the quick brown fox jumps over the lazy dog. " * 6
    pairs = [
        (text, " a cat"),
        *((text[:length], "ab") for length in (61, 62, 63, 64, 65)),
        ("x", "y" * 63),
        ("x", "y" * 64),
    ]
    theirs = stock(model, tokenizer).loglikelihood(instances(pairs), disable_tqdm=True)
    ours = TreeLM(model, tokenizer).loglikelihood(instances(pairs), disable_tqdm=True)
    assert [total for total, _ in ours] == pytest.approx([total for total, _ in theirs], **FLOAT32)


def test_a_cut_request_fills_the_model_and_keeps_the_end():
    context = list(range(100, 200))
    assert cut(context, [1, 2], 10) == Request(tuple(range(191, 200)), (1, 2))
    assert len(cut(context, [1, 2], 10).inputs) == 10
    assert cut(context, [1, 2], 101) == Request(tuple(context), (1, 2))
    assert cut([5], [1] * 10, 10) == Request((5,), (1,) * 10)


def test_a_continuation_that_the_model_cannot_read_is_refused_as_by_hflm(tiny):
    model, tokenizer = tiny
    model.config.max_position_embeddings = 64
    with pytest.raises(AssertionError):
        stock(model, tokenizer).loglikelihood(instances([("some", "y" * 66)]), disable_tqdm=True)
    with pytest.raises((AssertionError, ValueError)):
        TreeLM(model, tokenizer).loglikelihood(instances([("some", "y" * 66)]), disable_tqdm=True)


def test_running_text_gets_hflms_rolling_scores(tiny):
    model, tokenizer = tiny
    model.config.max_position_embeddings = 64
    text = "the quick brown fox jumps over the lazy dog. " * 6
    texts = [(text,), ("short",), (text[:63],), (text[:64],), (text[:65],)]
    theirs = stock(model, tokenizer).loglikelihood_rolling(instances(texts, "loglikelihood_rolling"), disable_tqdm=True)
    ours = TreeLM(model, tokenizer).loglikelihood_rolling(instances(texts, "loglikelihood_rolling"), disable_tqdm=True)
    assert ours == pytest.approx(theirs, **FLOAT32)


def test_scoring_leaves_no_trace_in_the_model(tiny):
    model, tokenizer = tiny
    before = {name: value.clone() for name, value in model.state_dict().items()}
    TreeLM(model, tokenizer).loglikelihood(instances([("a", " b")]), disable_tqdm=True)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert model.config.use_cache is True
