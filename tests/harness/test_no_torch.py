"""What computes nothing answers at once: help, refusals, and all that is read from a store load no torch."""

from __future__ import annotations

import subprocess
import sys

import pytest
from runs import ran, words

HEAVY = ("torch", "transformers", "scipy.stats", "sklearn", "matplotlib", "datasets", "lm_eval")
CODE = f"""
import sys
from harness.cli import main
code = main(sys.argv[1:])
print('loaded', code, *[name for name in {HEAVY!r} if name in sys.modules])
"""


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """A finished run, reported once."""
    folder = tmp_path_factory.mktemp("stored")
    ran(folder, "methods=[dense,magnitude]", "budgets=[0.8]")
    told("report", *places(folder))
    return folder


def places(folder):
    return [f"store={folder / 'store'}", f"report={folder / 'report'}"]


def told(*words: str) -> list[str]:
    """Return the exit code of a command and what it loaded, as a user's shell runs it."""
    run = subprocess.run([sys.executable, "-c", CODE, *words], capture_output=True, text=True, check=True)
    return run.stdout.splitlines()[-1].split()[1:]


@pytest.mark.parametrize(
    "line",
    [
        *("run suite=demmo", "run methods=[wnda]", "plan methods=[nas(evaluations=-1)]", "run quantizers=[int9]"),
        *("plan limit=0", "pln", "report format=htm", "compare flips=-1", "gate", "search seeds=0", "data exprt"),
        *("doctor pariti", "doctor scoring rounds=0", "env create", "ls store=nowhere", "report paper=wnda"),
    ],
)
def test_a_refusal_loads_no_torch(line, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert told(*line.split()) == ["2"]


@pytest.mark.parametrize("line", ["--help", "--version", "help run", "methods", "completion bash", "env ls"])
def test_help_and_lists_load_no_torch(line):
    assert told(*line.split()) == ["0"]


def test_what_is_stored_is_read_without_torch(stored):
    store, report = places(stored)
    variants = ["dense", "magnitude@0.8"]
    assert told("ls", store) == ["0"]
    assert told("report", store, report) == ["0"]
    assert told("report", store, report, "format=markdown") == ["0"]
    assert told("compare", *variants, store) == ["0"]
    assert told("gate", store, f"baseline={stored / 'kept'}", "update=true") == ["0"]
    assert told("gate", store, f"baseline={stored / 'kept'}")[1:] == []
    assert told("plan", *words(stored, "methods=[dense,magnitude]", "budgets=[0.8]")) == ["0"]


def test_a_report_that_would_be_the_same_is_left_alone(stored):
    page = stored / "report" / "report.html"
    before = page.stat().st_mtime_ns
    told("report", *places(stored))
    assert page.stat().st_mtime_ns == before
    (stored / "report" / "report.csv").unlink()
    told("report", *places(stored))
    assert page.stat().st_mtime_ns > before
