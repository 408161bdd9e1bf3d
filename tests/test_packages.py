"""All four import packages come from this repository: two of the names exist on public registries."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from harness import doctor

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
    found = {
        ".".join(path.parent.relative_to(ROOT).parts)
        for top in doctor.PACKAGES
        for path in (ROOT / top).rglob("__init__.py")
    }
    assert found == listed


def test_doctor_finds_everything_in_order_and_names_damage(tmp_path, capsys):
    from harness.cli import main
    from harness.store import Store

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

    monkeypatch.chdir(tmp_path)
    assert main([verb]) == 0
    assert capsys.readouterr().out
