"""A process without this project reloads what we saved, with the same outputs.

The folder carries the class.
"""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch
from sliced_models import uneven
from structured_models import TOKENS, compressed, logits, made

from baselines.flap import Flap
from baselines.slicegpt import SliceGPT
from harness.models import checkpoint

SCRIPT = """
import sys, torch
from transformers import AutoModelForCausalLM

for name in sys.argv[1:]:
    model = AutoModelForCausalLM.from_pretrained(name, trust_remote_code=True).eval()
    with torch.no_grad():
        found = model(torch.load("tokens.pt")).logits
    layers = model.model.layers
    biases = max((linear.bias.abs().max().item() for layer in layers if (linear := layer.self_attn.o_proj).bias is not None), default=0)
    torch.save((found, biases), f"{name}.pt")
assert not any(name.split(".")[0] in ("harness", "baselines") for name in sys.modules)
"""
SAVED = {
    "biases": lambda: compressed(Flap(budget=0.7), made()),
    "sliced": lambda: compressed(SliceGPT(budget=0.75), uneven(made())),
}


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """For each saved model the logits here, the logits there, and the largest bias of attention there.

    One process for all.
    """
    folder = tmp_path_factory.mktemp("elsewhere")
    torch.save(TOKENS, folder / "tokens.pt")
    here = {}
    for name, make in SAVED.items():
        model = make()
        checkpoint.save(model, folder / name, folder / name)  # without a tokenizer, which nobody asks here
        here[name] = logits(model)
    environment = {**os.environ, "HF_MODULES_CACHE": str(folder / "modules"), "PYTHONPATH": ""}
    command = [sys.executable, "-c", SCRIPT, *SAVED]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    return {name: (here[name], *torch.load(folder / f"{name}.pt")) for name in SAVED}


@pytest.mark.parametrize("name", SAVED)
def test_a_saved_folder_needs_nothing_of_ours_to_load(told, name):
    here, there, bias = told[name]
    assert torch.equal(here, there)
    assert (bias > 0) == (name == "biases")
