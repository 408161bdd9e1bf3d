"""What README and docs promise in code is run as it stands there, and their links lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from harness import config, registry
from harness.data.calibration import Calibration
from harness.models.anatomy import parameter_count
from harness.models.random_llama import build

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
PAGES = sorted([ROOT / "README.md", *DOCS.rglob("*.md")])
LINES = 130  # of the README, with the demo's table


def test_the_method_of_the_docs_is_found_and_meets_its_budget(tmp_path, monkeypatch):
    import baselines

    page = (DOCS / "how-to" / "own-method.md").read_text()
    (tmp_path / "shuffled.py").write_text(re.search(r"```python\n(.*?)```", page, re.S).group(1))
    monkeypatch.setattr(baselines, "__path__", [*baselines.__path__, str(tmp_path)])
    registry.methods.cache_clear()
    try:
        method = registry.build(*registry.parse("shuffled(budget=0.8)", {}))
        model, _ = build()
        dense = parameter_count(model)
        smaller = method.compress(model, Calibration(torch.empty(0, 0, dtype=torch.long)))
        assert abs(parameter_count(smaller) - 0.8 * dense) <= 0.005 * dense
    finally:
        registry.methods.cache_clear()


def commands() -> list[str]:
    """Return every command line of README, start and how-to pages that makes or plans a run."""
    pages = [ROOT / "README.md", DOCS / "start.md", *sorted((DOCS / "how-to").glob("*.md"))]
    lines = [line for page in pages for line in page.read_text(encoding="utf-8").splitlines()]
    found = (re.match(r"(?:.*&& )?harness (?:run|plan) (?!suite=ci)([^#&]*)", line) for line in lines)
    return sorted({each[1].strip() for each in found if each})


@pytest.mark.parametrize("command", commands())
def test_a_command_of_the_docs_is_one_that_the_harness_takes(command, tmp_path, monkeypatch):
    import shlex

    monkeypatch.chdir(tmp_path)
    (tmp_path / "FOLDER").mkdir()
    words = [word for word in shlex.split(command) if not word.startswith(("model=FOLDER", "model=file", "paper="))]
    own = ("external:", "./", "ci.yaml", "my-")
    words = [word for word in words if not any(name in word for name in own)]
    assert config.compose(words).methods


def test_the_readme_is_a_front_page():
    assert len((ROOT / "README.md").read_text().splitlines()) <= LINES


def test_every_method_has_its_place_in_the_overview():
    text = (DOCS / "methods.md").read_text()
    assert [name for name in registry.methods() if f"`{name}`" not in text] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_of_a_page_leads_somewhere(page):
    text = re.sub(r"```.*?```|`[^`\n]*`", "", page.read_text(encoding="utf-8"), flags=re.S)
    links = [link for link in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in link]
    lost = [link for link in links if not (page.parent / link.partition("#")[0]).exists()]
    assert lost == []


def test_every_page_is_in_the_table_of_contents():
    listed = set(re.findall(r"[\w/-]+\.md", (ROOT / "mkdocs.yml").read_text()))
    assert {str(page.relative_to(DOCS)) for page in PAGES if page.is_relative_to(DOCS)} == listed
