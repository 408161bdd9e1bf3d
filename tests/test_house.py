"""The floors of the house: every file of ours stands on one, so that the contracts see every import."""

from __future__ import annotations

import ast
import configparser
import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SHORT = 100  # letters of a first line
BESIDE = {"harness.__main__", "harness.conf"}  # what starts the command line; YAML
ROOMS = sorted(path.parent for top in ("harness", "reports") for path in (ROOT / top).rglob("__init__.py"))


def floors(name: str) -> set[str]:
    """Return the modules that the contract `name` puts on floors."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (layers,) = [contract["layers"] for contract in contracts if contract["name"] == name]
    return {module.strip() for layer in layers for module in layer.replace("|", ":").split(":")}


def standing(top: str) -> set[str]:
    """Return the files and rooms that lie in a package."""
    inside = {path.stem for path in (ROOT / top).glob("*.py")} | {
        path.parent.name for path in (ROOT / top).glob("*/__init__.py")
    }
    return {f"{top}.{name}" for name in inside - {"__init__"}} - BESIDE


@pytest.mark.parametrize(("top", "name"), [("harness", "floors of the house"), ("reports", "reports by question")])
def test_every_file_and_room_stands_on_a_floor(top, name):
    assert {module for module in floors(name) if module.startswith(f"{top}.")} == standing(top)


@pytest.mark.parametrize("room", ROOMS, ids=lambda room: room.name)
def test_every_room_says_what_it_is_for(room):
    assert ast.get_docstring(ast.parse((room / "__init__.py").read_text()))


@pytest.mark.parametrize("top", ["harness", "baselines", "suites", "reports", "tests"])
def test_docstrings_begin_with_one_short_line(top):
    long = []
    for path in sorted((ROOT / top).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                first = (ast.get_docstring(node) or "").partition("\n")[0]
                long += [f"{path.relative_to(ROOT)}: {first}"] if len(first) > SHORT else []
    assert long == []


def test_no_two_files_of_ours_have_one_name_but_for_what_a_registry_calls_by_it():
    """A verb, a method, a searcher and a measure are called as their files are; tests mirror rooms."""
    by_name: dict[str, list[str]] = {}
    for top in ("harness", "baselines", "suites", "reports"):
        for path in (ROOT / top).rglob("*.py"):
            if path.name != "__init__.py":
                by_name.setdefault(path.stem, []).append(str(path.relative_to(ROOT)))
    twice = {name: places for name, places in by_name.items() if len(places) > 1}
    assert all(
        sum(
            not re.match(r"(baselines|harness/(doctor/)?verbs|harness/nas/searchers|harness/measures)/", place)
            for place in places
        )
        <= 1
        for places in twice.values()
    ), twice


def test_every_test_runs_in_exactly_one_of_tox_and_tox_full():
    tox = configparser.ConfigParser(interpolation=None)
    tox.read(ROOT / "tox.ini")
    asked = {name: re.findall(r'-m "(.*?)"', tox[f"testenv:{name}"]["commands"]) for name in ("py", "full")}
    assert asked["py"] == [f"not ({marks})" for marks in asked["full"]]
    assert "full" not in tox["tox"]["envlist"]
    assert "tox && tox -e full" in (ROOT / ".ci" / "run").read_text()
