"""Training a super-network: each strategy trains what it says, exactly resumable.

Tokens are counted exactly.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from harness.models.anatomy import layers
from harness.models.random_llama import build
from harness.nas.axes import Depth, Groups, Width
from harness.nas.space import Space
from harness.nas.strategies import PASSES, networks, trained_passes
from harness.nas.strategist import STRATA, Strategist
from harness.nas.supernet import Elastic, body
from harness.nas.training import Supernet
from harness.recovery import loop
from harness.recovery.objective import response_logits
from harness.spec import CalibrationSpec, DataSource

LENGTH, BATCH = 16, 2
STRATEGIES = sorted(PASSES)


def space() -> Space:
    return Space(body(build()[0], (3, 2, 4, 1)), (Depth((0.5, 0.75, 1.0)), Groups(), Width((0.25, 0.5, 0.75, 1.0))))


def rows(count=8, high=258):
    data = torch.randint(2, high, (count, 2, LENGTH), generator=torch.Generator().manual_seed(0))
    data[:, 1] = data[:, 0]
    return data


def supernet(steps=4, **fields) -> Supernet:
    source = DataSource(name="demo_instructions")
    tokens = steps * LENGTH * BATCH * trained_passes(fields.get("strategy", "alternate"))
    return Supernet(
        calibration=CalibrationSpec(source=source, samples=2, length=LENGTH),
        training=source,
        **{"tokens": tokens, "batch": BATCH, "length": LENGTH, "learning_rate": 1e-3, **fields},
    )


def trained(scratch, *, steps=4, model=None, dense=None, data=None, **fields):
    model = build()[0] if model is None else model
    step = supernet(steps, **fields)
    scratch.mkdir(exist_ok=True)
    return model, step.train(model, rows() if data is None else data, space(), dense, scratch), step


def strategist(model, elastic, strategy, distill=0.7, dense=None) -> Strategist:
    return Strategist(model, elastic, space(), strategy, distill, 0, dense)


def same(one, other) -> bool:
    return all(torch.equal(*pair) for pair in zip(one.state_dict().values(), other.state_dict().values(), strict=True))


def watched(monkeypatch) -> list:
    """Return the list to which every network that is switched to will be added."""
    seen: list = []
    activate = Elastic.activate
    monkeypatch.setattr(Elastic, "activate", lambda self, chosen: (seen.append(chosen), activate(self, chosen))[1])
    return seen


@pytest.mark.parametrize(
    ("strategy", "kinds"),
    [
        ("alternate", ["full", "sub", "full", "sub"]),
        ("instatune", ["sub"] * 4),
        ("sandwich", ["sandwich"] * 4),
        ("random", ["sub"] * 4),
        ("standard", ["full"] * 4),
    ],
)
def test_each_strategy_trains_what_it_says(tmp_path, monkeypatch, strategy, kinds):
    seen = watched(monkeypatch)
    _, curve, _ = trained(tmp_path, strategy=strategy)
    full, smallest = space().full(), space().smallest()
    assert [row[3] for row in curve] == kinds
    if strategy == "standard":
        assert set(seen) == {full}
    if strategy == "random":
        assert len(seen) == 4, "no teacher"
    if strategy == "sandwich":
        assert [chosen == full for chosen in seen] == [True, False, False, False] * 4
        assert seen[1::4] == [smallest] * 4
        assert len(set(seen[2::4] + seen[3::4])) > 4
    if strategy in ("alternate", "instatune"):
        expected = {"full": [full], "sub": [full, None]}  # the teacher runs first
        pattern = [want for kind in kinds for want in expected[kind]]
        assert len(seen) == len(pattern)
        assert all(got == want for got, want in zip(seen, pattern, strict=True) if want)


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("teacher", ["inplace", "dense"])
@pytest.mark.parametrize("distill", [0.0, 0.7])
def test_tokens_are_counted_exactly(tmp_path, monkeypatch, strategy, teacher, distill):
    """Counted anew: calls of the model with and without gradients."""
    calls = {True: 0, False: 0}
    dense, model = build()[0], build()[0]
    for each in (dense, model):
        each.get_decoder().register_forward_pre_hook(
            lambda _, __, kwargs: calls.__setitem__(
                torch.is_grad_enabled(), calls[torch.is_grad_enabled()] + kwargs["input_ids"].numel()
            ),
            with_kwargs=True,
        )
    given = dense if teacher == "dense" else None
    _, curve, step = trained(tmp_path, model=model, dense=given, strategy=strategy, teacher=teacher, distill=distill)
    assert curve[-1][1] == calls[True] == step.tokens == step.cost().backward_tokens
    assert step.teacher_tokens == calls[False] == step.cost().forward_tokens - step.calibration.tokens


@pytest.mark.parametrize("adapter", ["full", "lora"])
@pytest.mark.parametrize("strategy", ["alternate", "sandwich"])
def test_training_resumed_after_a_kill_equals_unbroken_training(tmp_path, monkeypatch, strategy, adapter):
    unbroken, curve, _ = trained(tmp_path / "whole", strategy=strategy, adapter=adapter)
    monkeypatch.setattr(loop, "SAVE_SECONDS", -1)
    update = Strategist.update

    def dies(self, step, ids, labels):
        if step == 3:
            raise KeyboardInterrupt
        return update(self, step, ids, labels)

    monkeypatch.setattr(Strategist, "update", dies)
    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path / "broken", strategy=strategy, adapter=adapter)
    monkeypatch.setattr(Strategist, "update", update)
    resumed, again, _ = trained(tmp_path / "broken", strategy=strategy, adapter=adapter)
    assert again == curve
    assert same(resumed, unbroken)


def test_a_sub_networks_step_moves_its_own_weights_alone(tmp_path):
    """What the sub-network leaves out stays the same to the bit.

    That holds even after a step of the whole network has filled the moments.
    """
    model, _ = build()
    trained(tmp_path / "a", model=model, steps=2, strategy="alternate", tokens=LENGTH * BATCH)
    first = {name: weight.clone() for name, weight in model.state_dict().items()}
    model, _ = build()
    trained(tmp_path / "b", model=model, steps=2, strategy="alternate")
    with Elastic(model) as elastic:
        (small,) = strategist(model, elastic, "alternate").architectures(1)
    for index, block in enumerate(small.blocks):
        name = f"model.layers.{index}.mlp.up_proj.weight"
        now = model.state_dict()[name]
        assert torch.equal(now[block.width :], first[name][block.width :])
        if block.width:
            assert not torch.equal(now[: block.width], first[name][: block.width])
    assert any(block.width < 160 for block in small.blocks)


def test_the_gradient_of_a_sub_network_is_that_of_its_mixed_loss():
    model, ids = build()[0], rows()[:2, 0]
    weights = dict(layers(model).named_parameters())
    with Elastic(model) as elastic:
        trainer = strategist(model, elastic, "alternate", distill=0.25)
        done = trainer.update(1, ids, ids)
        actual = {name: weight.grad for name, weight in weights.items()}
        model.zero_grad(set_to_none=True)
        (small,) = trainer.architectures(1)
        elastic.activate(space().full())
        taught = response_logits(model, ids, ids)[0].detach().softmax(-1)
        elastic.activate(small)
        logits, wanted = response_logits(model, ids, ids)
        hard = torch.nn.functional.cross_entropy(logits, wanted)
        apart = (taught * (taught.log() - logits.log_softmax(-1))).sum(-1).mean()
        value = 0.75 * hard + 0.25 * apart
        value.backward()
    assert done.loss == pytest.approx(float(value.detach()), rel=1e-5)
    assert {name for name in actual if actual[name] is None} == {n for n in weights if weights[n].grad is None}
    for name, gradient in actual.items():
        if gradient is not None:
            assert torch.allclose(gradient, weights[name].grad, atol=1e-3, rtol=0.02)  # bfloat16


def test_a_sandwich_averages_the_gradients_of_its_networks():
    model, ids = build()[0], rows()[:2, 0]
    name = "model.layers.0.mlp.up_proj.weight"
    with Elastic(model) as elastic:
        trainer = strategist(model, elastic, "sandwich", distill=0.0)
        trainer.update(0, ids, ids)
        actual, total = model.get_parameter(name).grad.clone(), 0.0
        for chosen in trainer.architectures(0):
            model.zero_grad(set_to_none=True)
            elastic.activate(chosen)
            logits, wanted = response_logits(model, ids, ids)
            torch.nn.functional.cross_entropy(logits, wanted).backward()
            total = total + model.get_parameter(name).grad / 4
    assert torch.allclose(actual, total, atol=1e-3, rtol=0.02)  # bfloat16


def test_the_dense_teacher_teaches_sub_networks(tmp_path):
    _, inplace, _ = trained(tmp_path / "a", strategy="instatune", distill=1.0)
    _, dense, _ = trained(tmp_path / "b", strategy="instatune", distill=1.0, teacher="dense", dense=build(seed=5)[0])
    assert dense[0][2] != inplace[0][2]
    _, twin, _ = trained(tmp_path / "c", strategy="instatune", distill=1.0, teacher="dense", dense=build()[0])
    assert twin[0][2] == pytest.approx(inplace[0][2], rel=1e-5)  # before the first step they are one model


def test_sub_networks_of_a_step_depend_on_its_number_alone():
    model, _ = build()
    with Elastic(model) as elastic:
        ahead, straight = strategist(model, elastic, "sandwich"), strategist(model, elastic, "sandwich")
        late = ahead.architectures(STRATA)
        assert [straight.architectures(step) for step in range(STRATA + 1)][-1] == late
        drawn = [chosen for step in range(STRATA // 2) for chosen in straight.architectures(step)[2:]]
    sizes = [space().body.parameters(chosen) / space().body.dense for chosen in drawn]
    low = space().body.parameters(space().smallest()) / space().body.dense
    counts, _ = np.histogram(sizes, bins=4, range=(low, 1.0001))
    assert (counts >= 3).all(), "spread over sizes: five a quarter when perfectly even"


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_training_lowers_the_loss(tmp_path, strategy):
    data = rows(1, high=12).repeat(4, 1, 1)
    _, curve, _ = trained(tmp_path, steps=16, data=data, strategy=strategy, distill=0.3, learning_rate=3e-3)
    losses = np.array([row[2] for row in curve])
    assert losses[-4:].mean() < 0.8 * losses[:4].mean()


@pytest.mark.parametrize("adapter", ["full", "lora"])
def test_only_the_decoder_layers_are_trained(tmp_path, adapter):
    model, _, _ = trained(tmp_path, adapter=adapter)
    before = build()[0].state_dict()
    assert model.state_dict().keys() == before.keys()
    changed = {name for name, weight in model.state_dict().items() if not torch.equal(weight, before[name])}
    assert changed == {name for name in before if ".layers." in name and (adapter == "full" or "_proj" in name)}
    assert "forward" not in vars(layers(model)[0].mlp)


def test_a_budget_is_whole_steps_or_nothing():
    assert supernet(tokens=0).steps == 0
    assert supernet(tokens=5 * LENGTH * BATCH + 1).steps == 5
    assert supernet(strategy="sandwich", tokens=8 * LENGTH * BATCH).steps == 2
    with pytest.raises(ValidationError, match="less than one step of 128"):
        supernet(strategy="sandwich", tokens=127)
    assert [networks("alternate", step) for step in (0, 1, 2)] == [("full",), ("sub",), ("full",)]
