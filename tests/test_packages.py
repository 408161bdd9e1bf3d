"""All four import packages come from this repository: two of the names exist on public registries."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from harness.doctor import installation as doctor

ROOT = Path(__file__).resolve().parent.parent


def test_all_four_packages_come_from_this_installation():
    assert doctor.foreign_packages() == []
    assert (ROOT / "harness").is_dir()


def test_every_package_folder_is_listed():
    listed = set(
        re.findall(
            r'^    "((?:harness|baselines|suites|reports)[.\w]*)",$',
            (ROOT / "pyproject.toml").read_text().split("[tool.setuptools.package-data]")[0],
            re.M,
        )
    )
    actual = {
        ".".join(path.parent.relative_to(ROOT).parts)
        for top in doctor.PACKAGES
        for path in (ROOT / top).rglob("__init__.py")
    }
    assert actual == listed


def test_doctor_finds_everything_in_order_and_names_damage(tmp_path, capsys):
    from harness.cli import main
    from harness.storage.store import Store

    store = Store(tmp_path / "store")
    store.prepare()
    with store.draft("k" * 40) as draft:
        (draft / "a.txt").write_text("a")
        store.commit("k" * 40, draft, {"kind": "test", "title": "test", "cost": {"seconds": 0}, "result": {}})
    assert main(["doctor", f"store={store.root}"]) == 0
    (store.folder("k" * 40) / "a.txt").write_text("b")
    assert main(["doctor", f"store={store.root}"]) == 1
    assert "a.txt does not match its checksum" in capsys.readouterr().out


@pytest.mark.parametrize("verb", ["methods", "ls"])
def test_listing_verbs_work(verb, tmp_path, capsys, monkeypatch):
    from harness.cli import main
    from harness.storage.store import Store

    monkeypatch.chdir(tmp_path)
    Store(tmp_path / "harness-store").prepare()
    assert main([verb]) == 0
    assert capsys.readouterr().out


def test_pyproject_names_ranges_and_constraints_pins_within_them():
    """A machine with a CUDA build of torch can install us.

    The exact set that was tested is in constraints.txt.
    """
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [
        *project["dependencies"],
        *(each for extra in project["optional-dependencies"].values() for each in extra),
    ]
    pins = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line)
    pinned = {canonicalize_name(name): version for name, version in pins.items()}
    for text in wanted:
        requirement = Requirement(text)
        assert not any(part.operator in ("==", "===") for part in requirement.specifier), text
        version = pinned.get(canonicalize_name(requirement.name))
        assert version is None or version in requirement.specifier, f"{text}, but constraints.txt has {version}"


def test_the_versions_of_python_that_are_claimed_are_those_that_ci_resolves():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    claimed = [each.rsplit(" ", 1)[1] for each in project["classifiers"] if "Python :: 3." in each]
    assert project["requires-python"] == f">={claimed[0]}"
    script = (ROOT / ".ci" / "run").read_text()
    assert f"for version in {' '.join(claimed)}; do" in script
