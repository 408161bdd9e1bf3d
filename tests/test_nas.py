"""The super-network, its space, training and search: exactness on the tiny model."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest
import torch

from harness.nas import pick, training
from harness.nas.fitness import judge
from harness.nas.search import Records, explore
from harness.nas.space import CHOICES, Space, middle_layers, stratified
from harness.nas.supernet import Elastic, extracted, sort_channels
from harness.pruning.anatomy import layer_shapes, outside_parameters, parameter_count
from harness.pruning.importance import measure

TOKENS = torch.arange(40).view(2, 20) + 3


@pytest.fixture
def space(tiny):
    model, _ = tiny
    return Space(tuple(layer_shapes(model)), (3, 2, 4, 1), outside_parameters(model))


def architectures(space, count=8):
    return [space.decode(genome) for genome in stratified(space, count, np.random.default_rng(0))]


def logits(model):
    with torch.no_grad():
        return model(TOKENS).logits


def test_a_sliced_forward_equals_the_extracted_copy_to_the_bit(tiny, space):
    model, _ = tiny
    for architecture in architectures(space):
        with Elastic(model) as elastic:
            elastic.activate(architecture)
            sliced = logits(model)
        assert torch.equal(sliced, logits(extracted(model, architecture)))


def test_everything_is_put_back_even_after_an_error(tiny, space):
    model, _ = tiny
    before, stack = logits(model), model.get_decoder().layers
    with pytest.raises(KeyError), Elastic(model) as elastic:
        elastic.activate(space.decode([2, *[0] * 6]))
        raise KeyError
    assert torch.equal(before, logits(model))
    assert model.get_decoder().layers is stack
    assert model.config.num_hidden_layers == 6
    assert [layer.self_attn.layer_idx for layer in stack] == list(range(6))


def test_a_sub_network_generates_with_its_cache_as_without(tiny, space):
    model, _ = tiny
    with Elastic(model) as elastic:
        elastic.activate(space.decode([2, 1, 2, 3, 4, 5, 6]))
        mask = torch.ones_like(TOKENS)
        made = [
            model.generate(TOKENS, attention_mask=mask, max_new_tokens=5, do_sample=False, use_cache=use)
            for use in (True, False)
        ]
    assert torch.equal(*made)


def test_sorting_channels_changes_the_function_only_by_rounding(tiny):
    model, _ = tiny
    before = logits(model)
    importance = measure(model, TOKENS)
    sort_channels(model, importance.channels)
    assert torch.allclose(before, logits(model), atol=1e-4)  # the order of float32 sums
    again = measure(model, TOKENS).channels
    assert all((score[:-1] >= score[1:] - 1e-4).all() for score in again)


def test_parameters_are_exact_without_building_a_model(tiny, space):
    model, _ = tiny
    for architecture in architectures(space):
        assert space.parameters(architecture) == parameter_count(extracted(model, architecture))


def test_equal_networks_have_one_canonical_form(space):
    assert space.decode([2, 6, 6, 0, 1, 6, 6]) == space.decode([2, 6, 6, 5, 3, 6, 6])  # layers 2 and 3 are dropped


def test_protected_layers_are_never_dropped(space):
    for genome in stratified(space, 40, np.random.default_rng(1)):
        architecture = space.decode(genome)
        assert architecture[0] > 0
        assert architecture[-1] > 0


def test_seeds_hold_the_corners_and_the_controls(space):
    found = {space.decode(genome) for genome in space.seeds()}
    assert space.full() in found
    assert space.decode([space.depths - 1, *[0] * 6]) in found
    half = space.width(0, CHOICES[2])
    assert tuple([half] * 6) in found
    assert any(architecture[0] == 160 and architecture[-1] == 160 and architecture[2] < 160 for architecture in found)


@pytest.mark.parametrize("budget", [0.95, 0.9, 0.8, 0.7])
def test_snapping_meets_the_budget(space, budget):
    target = budget * space.dense
    for architecture in [space.full(), *architectures(space)]:
        snapped = space.snap(architecture, target)
        kept = all((one == 0) == (other == 0) for one, other in zip(architecture, snapped, strict=True))
        assert kept, "snapping must not change which layers are there"
        reachable = space.parameters(
            tuple(shape.width if width else 0 for shape, width in zip(space.shapes, architecture, strict=True))
        )
        if reachable >= target:
            unit = space.unit(0) * space.shapes[0].channel_parameters
            assert abs(space.parameters(snapped) - target) <= unit / 2 + 1


def test_the_middle_control_keeps_edges_whole(space):
    middle = middle_layers(6)
    architecture = pick.snap_middle(space, middle, 0.85 * space.dense)
    assert all(width == 160 for index, width in enumerate(architecture) if index not in middle)
    assert (
        abs(space.parameters(architecture) - 0.85 * space.dense) <= 0.01 * space.dense
    )  # units of 6 channels in a tiny model


def test_samples_are_spread_over_sizes(space):
    sizes = [space.parameters(space.decode(genome)) for genome in stratified(space, 60, np.random.default_rng(0))]
    low, high = space.parameters(space.decode([space.depths - 1, *[0] * 6])), space.dense
    shares, _ = np.histogram(sizes, bins=4, range=(low, high))
    assert (shares >= 6).all()  # 15 a quarter when perfectly even; uniform genes leave the outer quarters empty


def test_a_killed_search_goes_on_and_repeats_no_candidate(space, tmp_path):
    calls: list[tuple] = []

    def search(limit: int) -> Records:
        known = Records(tmp_path / "records.jsonl")

        def evaluate(asked, seeded):
            for architecture in sorted({key for key in asked if key not in known.found})[: 60 - len(known.found)]:
                if len(calls) == limit:
                    raise KeyboardInterrupt
                calls.append(architecture)
                known.add(
                    architecture,
                    {
                        "fitness": -float(sum(architecture)),
                        "parameters": space.parameters(architecture),
                        "seed": seeded,
                    },
                )

        explore(space, evaluate, known, evaluations=60, population=12, seed=5)
        return known

    with pytest.raises(KeyboardInterrupt):
        search(25)
    (tmp_path / "records.jsonl").write_text(
        (tmp_path / "records.jsonl").read_text() + '{"architecture": [1, 2'
    )  # torn by the kill
    resumed = search(10_000)
    assert len(calls) == len(set(calls)) == 60
    interrupted, calls[:] = list(calls), []
    (tmp_path / "records.jsonl").unlink()
    search(10_000)
    assert calls == interrupted, "a resumed search asks for what an unbroken one asks for"
    assert len(resumed.found) == 60


def test_training_resumed_from_its_checkpoint_equals_unbroken_training(tiny, space, tmp_path, monkeypatch):
    from harness.models.random_llama import build

    data = torch.randint(2, 258, (8, 2, 16), generator=torch.Generator().manual_seed(0))
    step = _supernet(6)
    unbroken, _ = build()
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    losses = list(step._train(unbroken, data, space, tmp_path / "one"))
    broken, _ = build()
    monkeypatch.setattr(training, "SAVE_SECONDS", -1)
    original = training.Supernet._update
    monkeypatch.setattr(training.Supernet, "_update", _fail_after(original, 4))
    with pytest.raises(KeyboardInterrupt):
        list(step._train(broken, data, space, tmp_path / "two"))
    monkeypatch.setattr(training.Supernet, "_update", original)
    resumed, _ = build()
    assert list(step._train(resumed, data, space, tmp_path / "two")) == losses
    assert all(torch.equal(one, other) for one, other in zip(unbroken.parameters(), resumed.parameters(), strict=True))


def _supernet(steps: int) -> training.Supernet:
    from harness.spec import CalibrationSpec, DataSource

    source = DataSource(name="demo_instructions")
    return training.Supernet(
        calibration=CalibrationSpec(source=source, samples=2, length=16),
        training=source,
        steps=steps,
        batch=2,
        length=16,
        learning_rate=1e-3,
    )


def _fail_after(original, count):
    counter = itertools.count()

    def update(self, *arguments):
        if next(counter) == count:
            raise KeyboardInterrupt
        return original(self, *arguments)

    return update


def test_training_lowers_the_loss_of_full_and_sub_networks(tiny, space, tmp_path):
    model, _ = tiny
    data = torch.randint(2, 12, (1, 2, 16), generator=torch.Generator().manual_seed(0)).repeat(4, 1, 1)
    data[:, 1] = data[:, 0]
    losses = np.array(list(_supernet(40)._train(model, data, space, tmp_path)))[:, 1]
    assert losses[-4::2].mean() < 0.7 * losses[:4:2].mean()


def test_a_diverged_training_stops_with_its_step(tiny, space, tmp_path):
    model, _ = tiny
    with torch.no_grad():
        model.get_decoder().layers[0].mlp.up_proj.weight[0, 0] = float("nan")
    data = torch.randint(2, 258, (4, 2, 16))
    with pytest.raises(ValueError, match="the loss of step 0 is nan"):
        list(_supernet(2)._train(model, data, space, tmp_path))


def test_fitness_means_over_tasks_not_over_items():
    items = [([0, 1], np.array([1.0, 1.0]), 0)] * 3 + [([0, 1], np.array([1.0, 1.0]), 0)]
    likelihoods = [np.array([0.0, -9.0])] * 3 + [np.array([-9.0, 0.0])]
    found = judge(likelihoods, items, ["a", "a", "a", "b"], "accuracy")
    assert found == {"fitness": 0.5, "accuracy": 0.5}


def test_choice_loss_is_the_cross_entropy_of_the_answer():
    items = [([0, 1, 2], np.array([2.0, 2.0, 2.0]), 1)]
    values = np.array([-3.0, -1.0, -2.0])
    expected = -np.log(np.exp(-1.0) / np.exp(values).sum())
    assert judge([values], items, ["a"], "choice_loss")["fitness"] == pytest.approx(expected)


def test_records_survive_as_json_lines(tmp_path):
    records = Records(tmp_path / "records.jsonl")
    records.add((1, 0, 2), {"fitness": 0.5, "parameters": 3, "seed": True})
    assert Records(tmp_path / "records.jsonl").found == {(1, 0, 2): {"fitness": 0.5, "parameters": 3, "seed": True}}
    assert json.loads((tmp_path / "records.jsonl").read_text())["architecture"] == [1, 0, 2]
