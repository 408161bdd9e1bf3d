"""What the README promises in code is run as it stands there."""

from __future__ import annotations

import re
from pathlib import Path

import torch

from harness import config, registry
from harness.data.calibration import Calibration
from harness.models.anatomy import parameter_count
from harness.models.random_llama import build

README = (Path(__file__).resolve().parent.parent / "README.md").read_text()


def test_the_method_of_the_readme_is_found_and_meets_its_budget(tmp_path, monkeypatch):
    import baselines

    (tmp_path / "random_channels.py").write_text(re.search(r"```python\n(.*?)```", README, re.S).group(1))
    monkeypatch.setattr(baselines, "__path__", [*baselines.__path__, str(tmp_path)])
    registry.methods.cache_clear()
    try:
        method = registry.build(*registry.parse("random(budget=0.8)", {}))
        model, _ = build()
        dense = parameter_count(model)
        smaller = method.compress(model, Calibration(torch.empty(0, 0, dtype=torch.long)))
        assert abs(parameter_count(smaller) - 0.8 * dense) <= 0.005 * dense
    finally:
        registry.methods.cache_clear()


def test_the_method_strings_of_the_readme_parse():
    words = re.findall(r"`'(methods=[^`]*)'`", README)
    assert len(words) == 2
    for word in words:
        assert config.compose([word]).methods


def test_every_method_is_described():
    for name in registry.methods():
        assert f"`{name}`" in README


def test_every_key_is_described():
    for key in config.RunConfig.model_fields:
        assert f"`{key}`" in README or f"`{key}." in README, key
