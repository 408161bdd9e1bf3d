"""Sub-networks of the real SmolLM2-135M: run with `tox -e full`."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from harness.models.anatomy import parameter_count
from harness.models.source import _load, resolve
from harness.nas.ranking import sort_parts
from harness.nas.space import Space
from harness.nas.spaces import SPACES, axes
from harness.nas.supernet import Elastic, body, extracted
from harness.pruning.importance import measure

pytestmark = [pytest.mark.real, pytest.mark.timeout(2700)]  # a processor without 16-bit instructions takes its time
TOKENS = torch.arange(64).view(2, 32) * 7 + 300


@pytest.fixture(scope="module")
def ranked():
    """SmolLM2 in bfloat16 with its parts ranked, and its layers in order of influence."""
    model = _load(resolve("smollm2-135m"), 0)[0].to(torch.bfloat16)
    importance = measure(model, TOKENS)
    sort_parts(model, importance, stream=True)
    return model, (importance.influence[1:-1].argsort(stable=True) + 1).tolist()


def members(ranked, name):
    model, order = ranked
    space = Space(body(model, order), axes(name), lowest=0.6)
    genomes = np.concatenate([space.seeds()[:3], space.sample(2, np.random.default_rng(0))])
    return space, [space.decode(genome) for genome in genomes]


@pytest.mark.parametrize("name", [name for name in SPACES if name != "large"])
def test_sub_networks_equal_their_copies_to_the_bit_and_in_parameters(ranked, name):
    model, _ = ranked
    space, chosen = members(ranked, name)
    for architecture in chosen:
        with torch.no_grad(), Elastic(model) as elastic:
            elastic.activate(architecture)
            sliced = model(TOKENS).logits
        copy = extracted(model, architecture)
        with torch.no_grad():
            assert torch.equal(sliced, copy(TOKENS).logits)
        assert parameter_count(copy) == space.body.parameters(architecture)


@pytest.mark.parametrize("name", ["fine", "joint"])
def test_sub_networks_generate_with_their_cache_what_their_copies_generate(ranked, name):
    model, _ = ranked
    _, chosen = members(ranked, name)
    settings = {"attention_mask": torch.ones_like(TOKENS), "max_new_tokens": 4, "do_sample": False, "use_cache": True}
    for architecture in chosen[-2:]:
        with Elastic(model) as elastic:
            elastic.activate(architecture)
            made = model.generate(TOKENS, **settings)
        assert torch.equal(made, extracted(model, architecture).generate(TOKENS, **settings))
