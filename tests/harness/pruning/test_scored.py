"""A structured method is a score: everything else that removing groups and channels takes is shared."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from structured_models import TOKENS, made

from harness.models.anatomy import layer_shapes, layers, parameter_count
from harness.pruning.scored import Parts, Scored
from harness.storage.sources import meaning


class FirstParts(Scored):
    """Keep the first groups and channels."""

    NAME = "first_parts"

    def score(self, layer):
        mlp, attention = layer.mlp, layer.self_attn
        groups = attention.k_proj.out_features // attention.head_dim
        return Parts(-torch.arange(groups, dtype=torch.float), -torch.arange(mlp.gate_proj.out_features).float())


class FirstOfAll(FirstParts):
    """The same by one threshold over all layers."""

    NAME = "first_of_all"

    @property
    def over(self):
        return "all layers"


@pytest.mark.parametrize("kind", [FirstParts, FirstOfAll])
def test_a_scored_method_is_one_function(kind):
    model = made()
    first = layers(model)[0].mlp.gate_proj.weight.detach().clone()
    dense = parameter_count(model)
    smaller = kind(budget=0.7).compress(model, type("Any", (), {"tokens": TOKENS}))
    assert parameter_count(smaller) == pytest.approx(0.7 * dense, abs=0.005 * dense)
    width = layer_shapes(smaller)[0].width
    assert torch.equal(layers(smaller)[0].mlp.gate_proj.weight, first[:width])


def test_names_and_fields_of_methods_are_known_without_torch():
    code = "from harness import registry; import sys; registry.methods(); registry.quantizers(); print('torch' in sys.modules)"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "False"


def test_a_file_of_ours_that_moves_changes_no_methods_digest():
    before, after = (b"from harness.%s import prune\n\nprune()\n" % room for room in (b"pruning.obs", b"models.obs"))
    assert meaning(before) == meaning(after)
    assert meaning(before) != meaning(before.replace(b"prune", b"grow"))
    assert meaning(b"from theirs.one import f") != meaning(b"from theirs.two import f")
