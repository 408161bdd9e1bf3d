"""The floors of the house: every file of ours stands on one, so that the contracts see every import."""

from __future__ import annotations

import ast
import configparser
import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
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


def test_every_test_runs_in_exactly_one_of_tox_and_tox_full():
    tox = configparser.ConfigParser(interpolation=None)
    tox.read(ROOT / "tox.ini")
    asked = {name: re.findall(r'-m "(.*?)"', tox[f"testenv:{name}"]["commands"]) for name in ("py", "full")}
    assert asked["py"] == [f"not ({marks})" for marks in asked["full"]]
    assert "full" not in tox["tox"]["envlist"]
    assert "tox && tox -e full" in (ROOT / ".ci" / "run").read_text()
