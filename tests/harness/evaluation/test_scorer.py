"""The tree scorer answers what lm-eval's HFLM answers, whatever it packs together."""

from __future__ import annotations

import random
from types import SimpleNamespace

import pytest
import torch
from families import FAMILIES
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM

from harness.evaluation import lm, scorer
from harness.evaluation.batches import pack
from harness.evaluation.journal import Journal
from harness.evaluation.lm import StockLM, TreeLM, cut
from harness.evaluation.scorer import is_argmax, score
from harness.evaluation.trie import Request
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
    """Return contexts with several answers each, and an answer after nothing.

    Some of the answers are the model's own.
    """
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
    """A model of equal or of per-layer widths.

    With its tokenizer, text pairs, and the same as token requests.
    """
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
    actual = scored(model, case.requests)
    assert actual[0] == pytest.approx(totals, **EXACT)
    assert actual[1] == greedy
    assert 2 < sum(greedy) < len(greedy) - 2  # both kinds are there


@pytest.mark.parametrize("budget", [1, 200, 10**6])
def test_scores_do_not_depend_on_packing_or_order(case, budget):
    totals, greedy = scored(case.model, case.requests)
    order = random.Random(budget).sample(range(len(totals)), k=len(totals))
    actual = scored(case.model, [case.requests[index] for index in order], budget)
    assert actual[0] == pytest.approx([totals[index] for index in order], **FLOAT32)
    assert actual[1] == [greedy[index] for index in order]


def test_equal_requests_get_equal_numbers(case):
    twice = [request for request in case.requests for _ in range(2)]
    totals, greedy = scored(case.model, twice)
    assert totals[::2] == totals[1::2]  # exactly: they are one node
    assert greedy[::2] == greedy[1::2]


def test_the_heads_chunks_change_nothing(case, monkeypatch):
    totals, greedy = scored(case.model, case.requests)
    monkeypatch.setattr(scorer, "LOGITS", 3 * 4 * case.model.config.vocab_size)  # three positions
    actual = scored(case.model, case.requests)
    assert actual[0] == pytest.approx(totals, **FLOAT32)
    assert actual[1] == greedy


def test_of_equally_likely_tokens_the_first_is_the_greedy_one_as_by_argmax():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randint(0, 4, (50, 12), generator=generator).bfloat16()  # many ties
    where, targets = (
        torch.randint(0, 50, (300,), generator=generator),
        torch.randint(0, 12, (300,), generator=generator),
    )
    expected = logits.argmax(-1)[where] == targets
    assert is_argmax(logits, where, targets).tolist() == expected.tolist()
    assert (logits[where, targets] == logits.amax(-1)[where]).sum() > expected.sum() > 0


def test_every_answer_is_that_of_stock_hflm(case):
    theirs = StockLM(case.model, case.tokenizer).loglikelihood(instances(case.pairs), disable_tqdm=True)
    ours = TreeLM(case.model, case.tokenizer).loglikelihood(instances(case.pairs), disable_tqdm=True)
    assert [total for total, _ in ours] == pytest.approx([total for total, _ in theirs], **FLOAT32)
    assert [greedy for _, greedy in ours] == [greedy for _, greedy in theirs]
    assert 2 < sum(greedy for _, greedy in ours) < len(ours) - 2


def test_bfloat16_stays_close_to_a_plain_pass(case):
    model = case.model.bfloat16()
    totals, _ = plain(model, case.requests)
    for total, actual, request in zip(totals, scored(model, case.requests)[0], case.requests, strict=True):
        # log-likelihoods of -4 to -8 nats are 1/32 apart in bfloat16: two steps a token
        assert actual == pytest.approx(total, abs=len(request.continuation) / 16)


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
    theirs = StockLM(model, tokenizer).loglikelihood(instances(pairs), disable_tqdm=True)
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
        StockLM(model, tokenizer).loglikelihood(instances([("some", "y" * 66)]), disable_tqdm=True)
    with pytest.raises((AssertionError, ValueError)):
        TreeLM(model, tokenizer).loglikelihood(instances([("some", "y" * 66)]), disable_tqdm=True)


def test_running_text_gets_hflms_rolling_scores(tiny):
    model, tokenizer = tiny
    model.config.max_position_embeddings = 64
    text = "the quick brown fox jumps over the lazy dog. " * 6
    texts = [(text,), ("short",), (text[:63],), (text[:64],), (text[:65],)]
    theirs = StockLM(model, tokenizer).loglikelihood_rolling(
        instances(texts, "loglikelihood_rolling"), disable_tqdm=True
    )
    ours = TreeLM(model, tokenizer).loglikelihood_rolling(instances(texts, "loglikelihood_rolling"), disable_tqdm=True)
    assert ours == pytest.approx(theirs, **FLOAT32)


def test_scoring_leaves_no_trace_in_the_model(tiny):
    model, tokenizer = tiny
    before = {name: value.clone() for name, value in model.state_dict().items()}
    TreeLM(model, tokenizer).loglikelihood(instances([("a", " b")]), disable_tqdm=True)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert model.config.use_cache is True


SHAPE = {
    "vocab_size": 300,
    "hidden_size": 48,
    "intermediate_size": 96,
    "num_hidden_layers": 3,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 512,
}
WINDOWED = {"use_sliding_window": True, "sliding_window": 16}
SETTINGS = {"mistral": {"sliding_window": 16}, "qwen2": WINDOWED | {"max_window_layers": 1}, "smollm3": WINDOWED}


@pytest.mark.parametrize("budget", [40, 10**6])
@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_is_scored_as_by_one_plain_pass_a_request(family, budget):
    kind, config = FAMILIES[family]
    torch.manual_seed(0)
    model = kind(config(**SHAPE | {"pad_token_id": 1}, **SETTINGS.get(family, {}))).double().eval()
    rng = random.Random(1)
    header = tuple(rng.choices(range(300), k=50))
    requests = [
        Request(header + tuple(rng.choices(range(300), k=20)), (rng.randrange(300), answer))
        for _ in range(6)
        for answer in (5, 6, 7)
    ]
    actual = scored(model, requests, budget)
    assert actual[0] == pytest.approx(plain(model, requests)[0], **EXACT)


def test_the_models_own_attention_is_back_after_scoring_and_after_a_failure(tiny, monkeypatch):
    model, _ = tiny
    before = model.config._attn_implementation
    batches = pack([Request((5, 6), (7,))])
    score(model, batches, 1)
    assert model.config._attn_implementation == before
    monkeypatch.setattr(type(batches[0].groups[0]), "mask", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        score(model, pack([Request((5, 6), (7,))]), 1)
    assert model.config._attn_implementation == before


@pytest.mark.parametrize("kind", [TreeLM, StockLM])
def test_a_killed_scoring_asks_only_for_what_is_missing(case, kind, tmp_path, monkeypatch):
    path = tmp_path / "answers.jsonl"
    monkeypatch.setattr(lm, "CHUNK", 10)
    small = {"batch_tokens": 60} if kind is TreeLM else {}
    whole = kind(case.model, case.tokenizer, **small).loglikelihood(instances(case.pairs))
    add, calls = Journal.add, []

    def dying(self, answers):
        if len(calls) == 2:
            raise KeyboardInterrupt
        calls.append(answers)
        add(self, answers)

    monkeypatch.setattr(Journal, "add", dying)
    with pytest.raises(KeyboardInterrupt):
        kind(case.model, case.tokenizer, journal=Journal(path), **small).loglikelihood(instances(case.pairs))
    path.write_text(path.read_text() + '["torn')
    done = Journal(path)
    assert 0 < len(done.found) < len(case.pairs) / 2
    asked: list[str] = []

    def listening(self, answers):
        pairs = list(answers)
        asked.extend(key for key, _ in pairs)
        add(self, pairs)

    monkeypatch.setattr(Journal, "add", listening)
    resumed = kind(case.model, case.tokenizer, journal=Journal(path), **small).loglikelihood(instances(case.pairs))
    assert not set(asked) & set(done.found), "nothing that was kept is asked again"
    assert [total for total, _ in resumed] == pytest.approx([total for total, _ in whole], **FLOAT32)
    assert [greedy for _, greedy in resumed] == [greedy for _, greedy in whole]
    assert set(Journal(path).found) == set(asked) | set(done.found)


def test_no_graph_grows_behind_the_scores(case, monkeypatch):
    seen, judge = [], scorer.judge
    monkeypatch.setattr(scorer, "judge", lambda *given: seen.append(given[2]) or judge(*given))
    TreeLM(case.model, case.tokenizer, batch_tokens=60).loglikelihood(instances(case.pairs))
    assert len(seen) > 2
    assert not any(hidden.requires_grad for hidden in seen)


def test_generation_is_hflms_and_is_not_repeated_after_a_kill(tiny, tmp_path, monkeypatch):
    model, tokenizer = tiny
    options = {"until": ["\n"], "max_gen_toks": 6, "do_sample": False}
    asked = [Instance("generate_until", {}, (f"the cat {index}", options), index) for index in range(20)]
    theirs = HFLM(pretrained=model, tokenizer=tokenizer, batch_size=16).generate_until(asked, disable_tqdm=True)
    ours = TreeLM(model, tokenizer, journal=Journal(tmp_path / "answers.jsonl"))
    assert ours.generate_until(asked) == theirs
    monkeypatch.setattr(type(model), "generate", lambda *_, **__: 1 / 0)
    again = TreeLM(model, tokenizer, journal=Journal(tmp_path / "answers.jsonl"))
    assert again.generate_until(asked) == theirs


def test_equal_requests_of_two_tasks_are_scored_once(tiny):
    model, tokenizer = tiny
    ours = TreeLM(model, tokenizer)
    first = ours.loglikelihood(instances([("a", " b"), ("a", " c")]))
    known = dict(ours.journal.found)
    assert ours.loglikelihood(instances([("a", " c"), ("a", " b")])) == first[::-1]
    assert ours.journal.found == known
