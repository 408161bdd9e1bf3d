"""Recovery: the loop resumes to the bit, and zeros and frozen weights stay.

LoRA merges to the same function.
"""

from __future__ import annotations

import json

import pytest
import torch
from own_kinds import Import
from token_rows import rows

from baselines.recover import Recover as Method
from harness import registry
from harness.data.calibration import IGNORED
from harness.models import checkpoint
from harness.models.anatomy import layers, linears
from harness.models.random_llama import build
from harness.models.zeros import zero_masks
from harness.pruning.masks import lowest
from harness.recovery import loop, objective, recover_step
from harness.recovery.adamw import AdamW
from harness.recovery.adapters import add_lora, merge_lora
from harness.recovery.kinds import LINEARS
from harness.recovery.masked_lora import MaskedLoRA
from harness.recovery.objective import precision
from harness.spec import DataSource, Node, Setup, Work
from harness.storage.store import Store

STEPS = 6


def step(**fields) -> recover_step.Recover:
    wanted = {"tokens": STEPS * 32, "batch": 2, "length": 16, "learning_rate": 1e-3, **fields}
    return recover_step.Recover(training=DataSource(name="demo_instructions"), **wanted)


def work(tmp_path, name="work") -> Work:
    scratch = tmp_path / name
    scratch.mkdir(exist_ok=True)
    return Work(scratch, scratch, Store(tmp_path), "key", (), (), "cpu")


def trained(tmp_path, name="work", *, model=None, teacher=None, data=None, **fields):
    model = build()[0] if model is None else model
    return model, step(**fields).train(model, rows() if data is None else data, teacher, work(tmp_path, name))


def same(one, other) -> bool:
    return all(torch.equal(*pair) for pair in zip(one.state_dict().values(), other.state_dict().values(), strict=True))


def logits(model):
    with torch.no_grad():
        return model(torch.arange(40).view(2, 20) + 3).logits


@pytest.fixture(scope="module", params=["full", "lora", "mixlora"])
def unbroken(request, tmp_path_factory):
    """The kind of adapter, the model after a training that nothing disturbed, and its curve.

    Nobody changes this model.
    """
    return request.param, *trained(tmp_path_factory.mktemp("unbroken"), adapter=request.param)


@pytest.mark.parametrize(("killed", "save_seconds"), [(1, -1), (STEPS - 1, -1), (3, 1e9), (5, "every other")])
def test_a_killed_training_resumes_to_the_bits_of_an_unbroken_one(
    tmp_path, monkeypatch, unbroken, killed, save_seconds
):
    adapter, whole, curve = unbroken
    update, save, calls = recover_step.Recover._update, loop.save, []

    def dies(self, *arguments):
        calls.append(1)
        if len(calls) > killed:
            raise KeyboardInterrupt
        return update(self, *arguments)

    def every_other(scratch, optimizer, rows):
        if len(rows) % 2 == 0:
            save(scratch, optimizer, rows)

    monkeypatch.setattr(loop, "SAVE_SECONDS", -1 if save_seconds == "every other" else save_seconds)
    if save_seconds == "every other":
        monkeypatch.setattr(loop, "save", every_other)
    monkeypatch.setattr(recover_step.Recover, "_update", dies)
    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path, "broken", adapter=adapter)
    monkeypatch.setattr(recover_step.Recover, "_update", update)
    resumed, again = trained(tmp_path, "broken", adapter=adapter)
    assert again == curve
    assert same(resumed, whole)


def test_without_a_zero_gradient_the_optimizer_is_torchs(tiny):
    generator = torch.Generator().manual_seed(0)
    ours, theirs = (torch.nn.Parameter(torch.ones(5, 7)) for _ in range(2))
    optimizer, stock = AdamW({"w": ours}, 0.1), torch.optim.AdamW([theirs], lr=0.01, weight_decay=0.1)
    for _ in range(5):
        ours.grad = torch.randn(5, 7, generator=generator)
        theirs.grad = ours.grad.clone()
        optimizer.step(0.01)
        stock.step()
    assert torch.allclose(ours, theirs, atol=1e-6)  # float32 in another order


def test_rows_that_a_step_leaves_out_do_not_drift(tiny):
    weight = torch.nn.Parameter(torch.ones(4, 3))
    optimizer = AdamW({"w": weight}, 0.1)
    weight.grad = torch.ones(4, 3)
    optimizer.step(0.01)
    before, mean = weight.detach().clone(), optimizer.means["w"].clone()
    weight.grad = torch.tensor([[1.0], [1.0], [0.0], [0.0]]).expand(4, 3).clone()
    optimizer.step(0.01)
    assert torch.equal(weight[2:], before[2:])
    assert torch.equal(optimizer.means["w"][2:], mean[2:])
    assert (weight[:2] != before[:2]).all()


def test_recovery_lowers_the_loss(tmp_path):
    data = rows(1, low=2, high=12).repeat(4, 1, 1)
    for adapter, rate in (("full", 1e-3), ("lora", 1e-2)):
        _, curve = trained(tmp_path, adapter, data=data, tokens=40 * 32, adapter=adapter, learning_rate=rate)
        assert curve[-1][2] < 0.7 * curve[0][2]


def test_distillation_alone_leads_to_the_teacher(tmp_path):
    student, _ = build(seed=1)
    student.get_input_embeddings().weight.data.copy_(build()[0].get_input_embeddings().weight)
    _, curve = trained(tmp_path, model=student, teacher=build()[0], tokens=40 * 32, distill=1.0, learning_rate=3e-3)
    assert 0 < curve[-1][2] < 0.7 * curve[0][2]
    _, still = trained(tmp_path, "same", teacher=build()[0], distill=1.0)
    assert still[0][2] == 0  # a student that is its teacher has nothing to learn


def test_a_large_batch_is_the_sum_of_its_parts(tmp_path, monkeypatch):
    data = rows()
    data[::2, 1, :12] = IGNORED  # parts of unequal weight
    at_once, one = trained(tmp_path, "one", data=data, batch=8, tokens=128)
    monkeypatch.setattr(objective, "PART", 32)
    in_parts, other = trained(tmp_path, "other", data=data, batch=8, tokens=128)
    assert one[0][2] == pytest.approx(other[0][2], rel=1e-4)  # bfloat16 forward passes of other shapes
    moved = [a - b for a, b in zip(at_once.parameters(), in_parts.parameters(), strict=True)]
    assert max(float(change.abs().max()) for change in moved) <= 2.1e-3  # one step of 1e-3 either way at most


def test_a_batch_without_any_response_changes_nothing(tmp_path):
    data = rows()
    data[:, 1] = IGNORED
    model, curve = trained(tmp_path, data=data)
    assert same(model, build()[0])
    assert {row[2] for row in curve} == {0.0}


@pytest.mark.parametrize("adapter", ["full", "lora"])
def test_only_the_decoder_layers_are_trained(tmp_path, adapter):
    model, _ = trained(tmp_path, adapter=adapter)
    before = build()[0].state_dict()
    assert model.state_dict().keys() == before.keys(), "LoRA is merged into plain weights"
    changed = {name for name, weight in model.state_dict().items() if not torch.equal(weight, before[name])}
    expected = {name for name in before if ".layers." in name and (adapter == "full" or "_proj" in name)}
    assert changed == expected
    assert not any(weight.requires_grad or weight.grad is not None for weight in model.parameters())


@torch.no_grad()
def test_merged_lora_is_the_function_of_its_factors():
    model, _ = build()
    plain = logits(model)
    factors = add_lora(model, rank=4, alpha=8, targets=LINEARS, seed=0)
    assert len(factors) == 2 * 7 * 6
    assert torch.equal(logits(model), plain)
    for factor in factors.values():
        factor.normal_(std=0.1, generator=torch.Generator().manual_seed(1))
    beside = logits(model)
    merge_lora(model)
    assert (beside - plain).abs().max() > 0.1
    assert torch.allclose(logits(model), beside, atol=1e-4)  # x W + x A B against x (W + A B) in float32
    assert {type(linear) for layer in layers(model) for _, linear in linears(layer)} == {torch.nn.Linear}


def sparse():
    model, _ = build()
    with torch.no_grad():
        for layer in layers(model):
            for _, linear in linears(layer):
                linear.weight.mul_(~lowest(linear.weight.abs(), 0.5))
    return model


def test_zeros_stay_zeros_and_the_rest_moves(tmp_path):
    before = zero_masks(layers(sparse()))
    model, _ = trained(tmp_path, model=sparse())
    assert len(before) == 7 * 6
    for name, mask in before.items():
        assert torch.equal(layers(model).get_parameter(name) != 0, mask)
        assert not torch.equal(layers(model).get_parameter(name), layers(sparse()).get_parameter(name))


def test_lora_keeps_the_zeros_of_a_sparse_model(tmp_path):
    before = zero_masks(layers(sparse()))
    model, curve = trained(tmp_path, model=sparse(), adapter="lora", learning_rate=1e-2)
    keys = {name: type(module) for name, module in sparse().named_modules()}
    assert {name: type(module) for name, module in model.named_modules()} == keys
    for name, mask in before.items():
        assert torch.equal(layers(model).get_parameter(name) != 0, mask)
        assert not torch.equal(layers(model).get_parameter(name), layers(sparse()).get_parameter(name))
    assert curve[-1][2] < curve[0][2]


def test_masked_lora_is_peft_where_nothing_is_masked_and_a_masked_product_elsewhere():
    linear = torch.nn.Linear(12, 8)
    mask = torch.rand(8, 12) > 0.5
    wrapped = MaskedLoRA(linear, mask, rank=2, alpha=6, generator=torch.Generator().manual_seed(0))
    inputs = torch.randn(5, 12)
    assert torch.equal(wrapped(inputs), linear(inputs))
    with torch.no_grad():
        wrapped.lora_B.normal_()
        change = 3 * wrapped.lora_B @ wrapped.lora_A
        assert torch.allclose(wrapped(inputs), linear(inputs) + inputs @ (change * mask).T, atol=1e-6)
        wrapped.mask.fill_(True)
        plain = linear(inputs) + 3 * (inputs @ wrapped.lora_A.T) @ wrapped.lora_B.T
        assert torch.allclose(wrapped(inputs), plain, atol=1e-6)
    wrapped(inputs).sum().backward()
    assert wrapped.lora_A.grad is not None


@pytest.mark.parametrize("adapter", ["lora", "mixlora"])
def test_dropout_is_drawn_anew_each_step_and_alike_in_a_resumed_training(tmp_path, adapter):
    (one, curve), (two, again) = (trained(tmp_path, name, adapter=adapter, lora_dropout=0.5) for name in ("a", "b"))
    assert curve == again
    assert same(one, two)
    _, without = trained(tmp_path, "c", adapter=adapter)
    assert [row[2] for row in curve] != [row[2] for row in without]
    assert not one.training
    torch.manual_seed(5)
    drawn = torch.rand(1)
    torch.manual_seed(5)
    trained(tmp_path, "d", adapter=adapter, lora_dropout=0.5)
    assert torch.equal(torch.rand(1), drawn)  # and nobody else's draws move


def test_a_mixture_is_merged_into_plain_weights_and_tells_what_that_costs(tmp_path):
    model, given, data = build()[0], work(tmp_path), rows(2)
    kinds = {name: type(module) for name, module in model.named_modules()}
    curve = step(adapter="mixlora", learning_rate=3e-2, tokens=20 * 32).train(model, data, None, given)
    assert {name: type(module) for name, module in model.named_modules()} == kinds
    before, after = given.result["merge_loss"]
    ids, labels = data[:, 0], data[:, 1]
    with torch.no_grad():
        logits, wanted = objective.response_logits(model, ids, labels)
        assert after == pytest.approx(torch.nn.functional.cross_entropy(logits, wanted).item(), rel=1e-3)
    assert curve[0][2] > before != after  # two rows are one batch: what was trained on is what is probed
    with pytest.raises(ValueError, match="adapter=mixlora would fill the zeros"):
        trained(tmp_path, "sparse", model=sparse(), adapter="mixlora")
    with pytest.raises(ValueError, match="top_k must be at most experts=2, not 3"):
        registry.build(Method, {"adapter": "mixlora", "experts": 2, "top_k": 3})


def test_fields_that_came_later_leave_the_key_of_what_was_stored(tmp_path):
    fields = step().fingerprint_fields()
    assert not {"lora_dropout", "experts", "top_k", "balance"} & fields.keys()
    assert step(lora_dropout=0.1).fingerprint_fields() == fields | {"lora_dropout": 0.1}


def test_the_curve_counts_tokens_exactly(tmp_path):
    _, curve = trained(tmp_path, tokens=STEPS * 32 + 31)
    assert [row[:2] for row in curve] == [(index, 32 * (index + 1)) for index in range(STEPS)]
    assert {row[3] for row in curve} == {"full"}
    cost = step(distill=0.5, tokens=STEPS * 32 + 31).cost()
    assert (cost.backward_tokens, cost.forward_tokens) == (STEPS * 32, STEPS * 32)


def test_a_diverged_training_stops_with_its_step(tmp_path):
    model, _ = build()
    with torch.no_grad():
        layers(model)[0].mlp.up_proj.weight[0, 0] = float("nan")
    with pytest.raises(ValueError, match="the loss of step 0 is nan"):
        trained(tmp_path, model=model)


def test_the_step_stores_a_plain_checkpoint_of_the_parents_dtype(tmp_path, tiny, monkeypatch):
    monkeypatch.setattr("harness.data.calibration.text.rows", lambda _: [{"instruction": "a", "output": "b" * 99}] * 9)
    model, tokenizer = tiny
    store = Store(tmp_path / "store")
    store.prepare()
    monkeypatch.setattr(store, "verify", lambda key: None)
    keys = [Node(Import()).key, Node(step()).key]
    for key in keys:
        tokenizer.save_pretrained(store.folder(key) / "checkpoint")
        checkpoint.save(model.to(torch.bfloat16), store.folder(key) / "checkpoint", store.folder(key) / "checkpoint")
    draft = tmp_path / "draft"
    draft.mkdir()
    given = Work(draft, store.scratch("key"), store, "key", tuple(keys[::-1]), (), "cpu")
    step(distill=0.5, adapter="lora").run(given)
    reloaded = checkpoint.load(draft / "checkpoint")
    assert {weight.dtype for weight in reloaded.parameters()} == {torch.bfloat16}
    assert given.result["training_tokens"] == given.result["teacher_tokens"] == STEPS * 32
    assert len(json.loads((draft / "losses.json").read_text())) == STEPS


def test_a_preset_lies_below_what_is_written():
    built = Method(preset="llm_pruner", lora_rank=4)
    assert (built.adapter, built.lora_rank, built.learning_rate, built.batch) == ("lora", 4, 1e-4, 64)
    assert built.lora_dropout == 0.05
    source = DataSource(name="demo_instructions")
    calibration = {"source": source, "samples": 1, "length": 8}
    setup = Setup(calibration=calibration, training=source, search_tasks=(), report_tasks=(), seed=3)
    (made,) = built.stages(setup)
    assert (made.tokens, made.steps, made.lora_rank, made.seed) == (100_000, 6, 4, 3)


def test_less_than_one_batch_is_refused_before_any_work():
    with pytest.raises(ValueError, match="less than one batch of 4"):
        registry.build(Method, {"tokens": 1000})


@pytest.mark.parametrize(("dtype", "sixteen"), [("float32", False), ("bfloat16", True), ("float16", True)])
def test_training_computes_in_the_runs_dtype(tiny, dtype, sixteen):
    model = tiny[0].to(getattr(torch, dtype))
    model.config.dtype = getattr(torch, dtype)
    with precision(model.float()):
        assert torch.is_autocast_enabled("cpu") == sixteen
