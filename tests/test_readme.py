"""What README and docs promise in code is run as it stands there, and their links lead somewhere."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import torch

from harness import config, registry
from harness.command.all_verbs import find
from harness.command.paper import FORMATS
from harness.command.run_words import run_words
from harness.data import catalogue, suites
from harness.data.calibration import Calibration
from harness.models.anatomy import parameter_count
from harness.models.random_llama import build
from harness.outside import commands as outside
from harness.verbs.report import Report
from harness.words import recipes
from reports.written.folder import formats

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


def test_the_suite_of_the_docs_is_read(tmp_path):
    page = (DOCS / "how-to" / "own-suite.md").read_text(encoding="utf-8")
    (tmp_path / "my-suite.yaml").write_text(re.search(r"```yaml\n(.*?)```", page, re.S).group(1))
    suite = suites.read(str(tmp_path / "my-suite.yaml"))
    assert {catalogue.layout(task.task) is not None for task in suite.tasks} == {True}
    assert suite.calibration in catalogue.TEXT


def test_the_command_file_of_the_docs_is_read(tmp_path):
    page = (DOCS / "how-to" / "outside-method.md").read_text(encoding="utf-8")
    text = re.search(r"```yaml\n(.*?)```", page, re.S).group(1)
    (tmp_path / "my-method.yaml").write_text(re.sub(r"(?m)^environment:.*$", "", text))  # which is made by a command
    (tmp_path / "prune.py").write_text("")
    command = outside.read(str(tmp_path / "my-method.yaml"))
    assert all(map(command.takes, ("budget", "calibration", "seed")))


def commands() -> list[str]:
    """Return every command line of README, start and how-to pages that makes or plans a run."""
    pages = [ROOT / "README.md", DOCS / "start.md", *sorted((DOCS / "how-to").glob("*.md"))]
    lines = [line for page in pages for line in page.read_text(encoding="utf-8").splitlines()]
    actual = (re.match(r"(?:.*&& )?harness (?:run|plan) (?!suite=ci)([^#&]*)", line) for line in lines)
    return sorted({each[1].strip() for each in actual if each})


@pytest.mark.parametrize("command", commands())
def test_a_command_of_the_docs_is_one_that_the_harness_takes(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "FOLDER").mkdir()
    words = [word for word in shlex.split(command) if not word.startswith(("model=FOLDER", "model=file", "paper="))]
    own = ("external:", "./", "ci.yaml", "my-")
    words = [word for word in words if not any(name in word for name in own)]
    assert config.compose(words).methods


def spoken() -> list[str]:
    """Return every command of README and docs, in blocks and in running text.

    Pages that are made from the code are left out.
    """
    pages = [page for page in PAGES if "reference" not in page.parts]
    texts = [page.read_text(encoding="utf-8") for page in pages]
    blocks = [
        line for text in texts for block in re.findall(r"```bash\n(.*?)```", text, re.S) for line in block.splitlines()
    ]
    inline = [code for text in texts for code in re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.S))]
    parts = [part.strip() for line in (*blocks, *inline) for part in re.split(r"&&|;", line.split("  #")[0])]
    return sorted({part for part in parts if re.match(r"harness [a-z]", part)})


@pytest.mark.parametrize("command", spoken())
def test_a_verb_of_the_docs_takes_the_words_that_are_written_behind_it(command):
    words = shlex.split(command)[1:]
    if words[0] == "help":
        return
    kind, rest = find(words)
    if not rest or rest == ["..."]:
        return
    verb = kind.parse(rest)
    if isinstance(verb, Report):
        assert verb.format in (FORMATS if verb.paper else [*formats(), "table"])
    known = [word.name for word in run_words()]
    keys = [word.partition("=")[0] for word in verb.run_words if word != "$C"]  # the words that a line before holds
    assert [key for key in keys if key not in known and not key.startswith("settings.")] == []


def test_every_method_that_the_docs_write_with_fields_is_read():
    texts = [page.read_text(encoding="utf-8") for page in PAGES]
    codes = [code.strip("'\"") for text in texts for code in re.findall(r"`([^`\n]+)`", text)]
    names = "|".join(registry.methods())
    actual = {code for code in codes if re.match(rf"({names})[(:+].*=.*\)", code) and "..." not in code}
    assert len(actual) > 5
    for recipe in actual:
        for part in recipes.parts(recipe):
            registry.parse(part, {})


def test_every_format_of_a_report_is_named_in_its_help():
    told = Report.model_fields["format"].description or ""
    assert [name for name in (*formats(), *FORMATS) if name not in told] == []


def test_the_readme_is_a_front_page():
    assert len((ROOT / "README.md").read_text().splitlines()) <= LINES


def test_every_method_has_its_place_in_the_overview():
    text = (DOCS / "methods.md").read_text()
    assert [name for name in registry.methods() if f"`{name}`" not in text] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_of_a_page_leads_somewhere(page):
    text = re.sub(r"```.*?```|`[^`\n]*`", "", page.read_text(encoding="utf-8"), flags=re.S)
    links = [link for link in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in link]
    assert [link for link in links if not leads_somewhere(page, link)] == []


def leads_somewhere(page: Path, link: str) -> bool:
    """Tell whether the file of a link is there, and in it the heading that the link names."""
    name, _, anchor = link.partition("#")
    target = (page.parent / name) if name else page
    if not target.exists() or not anchor:
        return target.exists()
    headings = re.findall(r"^#+ (.*)$", target.read_text(encoding="utf-8"), re.M)
    return anchor in {re.sub(r"[^\w -]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def test_every_page_is_in_the_table_of_contents():
    listed = set(re.findall(r"[\w/-]+\.md", (ROOT / "mkdocs.yml").read_text()))
    assert {str(page.relative_to(DOCS)) for page in PAGES if page.is_relative_to(DOCS)} == listed
