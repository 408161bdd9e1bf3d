"""What computes nothing answers at once.

Help, refusals, and all that is read from a store load no torch.
"""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from runs import ran, words

HEAVY = ("torch", "transformers", "scipy.stats", "sklearn", "matplotlib", "datasets", "lm_eval")
CODE = f"""
import json, sys
from harness.cli import main
for line in json.loads(sys.argv[1]):
    code = main(line)
    print('loaded', code, *[name for name in {HEAVY!r} if name in sys.modules])
"""
REFUSED = (
    *("run suite=demmo", "run methods=[wnda]", "plan methods=[nas(evaluations=-1)]", "run quantizers=[int9]"),
    *("plan limit=0", "pln", "report format=htm", "compare flips=-1", "gate", "search seeds=0", "data exprt"),
    *("doctor pariti", "doctor scoring rounds=0", "env create", "ls store=nowhere", "report paper=wnda"),
)
TOLD = ("--help", "--version", "help run", "methods", "completion bash", "env ls")


def places(folder):
    return [f"store={folder / 'store'}", f"report={folder / 'report'}"]


def told(*lines: list[str], cwd=None) -> list[list[str]]:
    """Return the exit code of each command and what was loaded when it had ended.

    All commands run in one fresh process.
    """
    command = [sys.executable, "-c", CODE, json.dumps(lines)]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=True)
    return [line.split()[1:] for line in done.stdout.splitlines() if line.startswith("loaded ")]


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    """What each line that computes nothing ended with, run where nothing is stored."""
    lines = [*REFUSED, *TOLD]
    actual = told(*(line.split() for line in lines), cwd=tmp_path_factory.mktemp("nothing"))
    return dict(zip(lines, actual, strict=True))


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """A finished run, reported once."""
    folder = tmp_path_factory.mktemp("stored")
    ran(folder, "methods=[dense,magnitude]", "budgets=[0.8]")
    told(["report", *places(folder)])
    return folder


@pytest.mark.parametrize("line", REFUSED)
def test_a_refusal_loads_no_torch(line, answers):
    assert answers[line] == ["2"]


@pytest.mark.parametrize("line", TOLD)
def test_help_and_lists_load_no_torch(line, answers):
    assert answers[line] == ["0"]


def test_what_is_stored_is_read_without_torch(stored):
    store, report = places(stored)
    kept = f"baseline={stored / 'kept'}"
    *codes, same = told(
        ["ls", store],
        ["report", store, report],
        ["report", store, report, "format=markdown"],
        ["compare", "dense", "magnitude@0.8", store],
        ["plan", *words(stored, "methods=[dense,magnitude]", "budgets=[0.8]")],
        ["gate", store, kept, "update=true"],
        ["gate", store, kept],
    )
    assert codes == [["0"]] * 6
    assert same[1:] == []


def test_a_report_that_would_be_the_same_is_left_alone(stored):
    page = stored / "report" / "report.html"
    before = page.stat().st_mtime_ns
    told(["report", *places(stored)])
    assert page.stat().st_mtime_ns == before
    (stored / "report" / "report.csv").unlink()
    told(["report", *places(stored)])
    assert page.stat().st_mtime_ns > before
