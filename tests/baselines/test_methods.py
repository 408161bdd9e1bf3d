"""The contract of every method found on disk, tested without naming any.

Budget, finiteness, reload, repeatability.
"""

from __future__ import annotations

import copy
from functools import cache

import numpy as np
import pytest
import torch

from harness import registry
from harness.data.calibration import Calibration
from harness.models import checkpoint
from harness.models.anatomy import layers, linears, parameter_count
from harness.models.described import Description
from harness.models.random_llama import build
from harness.models.size import nonzero_count
from harness.pruning.budget import TOLERANCE
from harness.runtimes.all_runtimes import runtimes
from harness.runtimes.runtime import TORCH
from harness.spec import Method

ONE_STEP = sorted(name for name, kind in registry.methods().items() if kind.stages is Method.stages)
WITH_BUDGET = [name for name in ONE_STEP if "budget" in registry.methods()[name].model_fields]
LEAST = 0.75
SHAPES = [  # which a quantizer or a runtime may not take; zeros leave them as they are
    (name, budget)
    for name in WITH_BUDGET
    for budget in ((0.93, 0.9, 0.87, LEAST) if registry.methods()[name].STRUCTURED else (LEAST,))
]
DEPLOYED = [
    (place, *shape)
    for place, kind in runtimes().items()
    for shape in SHAPES
    if (shape[1] == LEAST or place == "llamacpp")  # others take seconds each
    and not kind.refuses(Description("llama"), [registry.methods()[shape[0]]])
]


def calibration() -> Calibration:
    return Calibration(torch.randint(2, 258, (12, 64), generator=torch.Generator().manual_seed(1)))


def compressed(name: str, **fields):
    model, _ = build()
    return registry.build(registry.methods()[name], fields).compress(model, calibration())


@cache
def result(name: str, budget: float):
    """The same for all tests, which leave it as it is."""
    return compressed(name, budget=budget)


@pytest.mark.parametrize("budget", [0.9, 0.75, 0.6])
@pytest.mark.parametrize("name", WITH_BUDGET)
def test_the_budget_is_met_within_half_a_percent(name, budget):
    model, _ = build()
    dense = parameter_count(model)
    smaller = result(name, budget)
    if registry.methods()[name].STRUCTURED:
        assert abs(parameter_count(smaller) - budget * dense) <= TOLERANCE * dense
    else:  # zeros are counted by the row of 64 weights, rounded down: at most one too few in each
        assert abs(nonzero_count(smaller) - budget * dense) <= dense / 64


@pytest.mark.parametrize("name", WITH_BUDGET)
def test_unstructured_methods_keep_every_shape_and_structured_ones_shrink(name):
    model, _ = build()
    smaller = result(name, 0.8)
    assert (parameter_count(smaller) == parameter_count(model)) is not registry.methods()[name].STRUCTURED


@pytest.mark.parametrize("name", WITH_BUDGET)
def test_the_same_fields_give_the_same_bytes(name):
    first, second = result(name, 0.8).state_dict(), compressed(name, budget=0.8).state_dict()
    assert first.keys() == second.keys()
    assert all(torch.equal(first[key], second[key]) for key in first)


@pytest.mark.parametrize("name", WITH_BUDGET)
def test_the_result_reloads_bit_exact(name, tmp_path, tiny_folder):
    smaller = result(name, 0.8)
    checkpoint.save(smaller, tmp_path / "saved", tiny_folder)
    tokens = torch.arange(2, 22)[None]
    with torch.no_grad():
        assert torch.equal(smaller(tokens).logits, checkpoint.load(tmp_path / "saved")(tokens).logits)
    assert all(weight.isfinite().all() for weight in smaller.parameters())


@pytest.mark.parametrize(("name", "budget"), SHAPES)
def test_every_quantizer_goes_on_top_of_every_result(name, budget, tmp_path, tiny_folder):
    checkpoint.save(copy.deepcopy(result(name, budget)).to(torch.bfloat16), tmp_path / "saved", tiny_folder)
    for label, quantizer in registry.quantizers().items():
        if quantizer.CALIBRATED and budget != LEAST:
            continue  # they take their time
        if TORCH in quantizer.RUNTIMES and quantized(quantizer(), tmp_path / "saved", tmp_path / label):
            with torch.no_grad():
                assert checkpoint.load(tmp_path / label)(torch.arange(2, 12)[None]).logits.isfinite().all()


def quantized(quantizer, source, target) -> bool:
    """Quantize, and return whether there was something to quantize; any other error is one."""
    try:
        if quantizer.CALIBRATED:
            quantizer.calibrate(source, target, calibration().tokens, "cpu")
        else:
            quantizer.apply(source, target)
    except ValueError as error:
        if f"{quantizer.NAME} finds no linear to quantize in a " in str(error):
            return False
        raise
    return True


@pytest.mark.parametrize(("place", "name", "budget"), DEPLOYED)
def test_every_result_is_deployed_in_every_runtime_and_its_quantizers(place, name, budget, tmp_path, tiny_folder):
    kind = runtimes()[place]
    model, tokenizer = result(name, budget), checkpoint.load_tokenizer(tiny_folder)
    with torch.no_grad():
        logits = model(torch.arange(2, 34)[None]).logits[0].numpy()
    kind.convert(model, tokenizer, tmp_path / place)
    forms = [label for label, quantizer in registry.quantizers().items() if place in quantizer.RUNTIMES]
    for form in forms:
        kind.quantize(tmp_path / place, tmp_path / form, form)
    for label in (place, *forms):
        engine = kind.engine(tmp_path / label, threads=1, batch=1, tokens=32)
        off = np.abs(engine.logits(list(range(2, 34))) - logits).mean() / np.abs(logits).max()
        engine.close()
        assert off < (kind.ROUNDING if label == place else 0.1)


@pytest.mark.parametrize("name", WITH_BUDGET)
def test_dtype_hooks_and_gradients_are_left_as_they_were(name):
    model, _ = build()
    smaller = registry.build(registry.methods()[name], {"budget": 0.8}).compress(
        model.to(torch.bfloat16), calibration()
    )
    assert {weight.dtype for weight in smaller.parameters()} == {torch.bfloat16}
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in smaller.modules())
    assert all(weight.grad is None for weight in smaller.parameters())


@pytest.mark.parametrize("name", WITH_BUDGET)
@pytest.mark.parametrize("budget", [0, 1.2, -1])
def test_a_budget_outside_zero_to_one_is_refused_before_any_work(name, budget):
    with pytest.raises(ValueError, match="budget"):
        registry.build(registry.methods()[name], {"budget": budget})


def test_an_unreachable_budget_says_what_is_reachable():
    with pytest.raises(ValueError, match="the nearest budget it can meet is"):
        compressed("llm_pruner", budget=0.05)


def test_a_new_method_is_one_file(tmp_path, monkeypatch):
    """A file in a package on the path of `baselines` is found, parsed and built; no other line changes."""
    import baselines

    (tmp_path / "halve.py").write_text(
        "from harness.spec import Method\n\n\nclass Halve(Method):\n    NAME = 'halve'\n    budget: float = 0.5\n\n"
        "    def compress(self, model, calibration):\n        return model\n"
    )
    monkeypatch.setattr(baselines, "__path__", [*baselines.__path__, str(tmp_path)])
    registry.methods.cache_clear()
    try:
        kind, fields = registry.parse("halve(budget=0.7)", {})
        assert registry.build(kind, fields).budget == 0.7
    finally:
        registry.methods.cache_clear()


@pytest.mark.parametrize(("pattern", "n", "m"), [("2:4", 2, 4), ("4:8", 4, 8)])
@pytest.mark.parametrize("name", ["magnitude", "wanda"])
def test_patterns_hold_in_every_group(name, pattern, n, m):
    for layer in layers(compressed(name, pattern=pattern)):
        for _, linear in linears(layer):
            kept = (linear.weight != 0).unflatten(1, (-1, m)).sum(-1)
            assert (kept == n).all()


@pytest.mark.parametrize("name", ["magnitude", "wanda"])
def test_sparsity_is_the_share_of_zeros_in_each_linear(name):
    for layer in layers(compressed(name, sparsity=0.5)):
        for _, linear in linears(layer):
            assert (linear.weight == 0).sum() == linear.weight.numel() // 2
