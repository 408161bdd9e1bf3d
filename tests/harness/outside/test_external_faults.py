"""What an outside command can do wrong stays with it.

Its input is a copy, its children end with it, its failure is told once.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from outside_commands import gone, killed_while_it_runs
from runs import planned, ran

from harness.cli import main
from harness.execution import Watch, execute
from harness.outside import environments
from harness.outside.run_command import remove
from harness.storage.store import Store

HEAD = "import json, pathlib, sys\nsource, output = map(pathlib.Path, sys.argv[1:3])\n"
SPOIL = f"{HEAD}(source / 'config.json').write_text('')\n(source / 'model.safetensors').write_bytes(b'')\nsys.exit('spoilt')\n"


def command(folder: Path, script: str) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "mine.py").write_text(script)
    (folder / "mine.yaml").write_text('command: ["{python}", mine.py, "{input}", "{output}"]\nfiles: [mine.py]\n')
    return folder / "mine.yaml"


@pytest.mark.timeout(300)
def test_a_command_that_changes_its_input_fails_once_and_the_store_stays_whole(tmp_path):
    file = command(tmp_path / "theirs", SPOIL)
    made, store, summary, rows = ran(
        tmp_path, f"methods=[external:{file}]", "quantizers=[none]", "measure.speed=false", "limit=1"
    )
    [reason] = summary.failed.values()
    assert "spoilt" in reason
    assert {row["variant"]: row["status"] for row in rows} == {"dense": "ok", "external:mine": "failed"}
    assert store.damage(made.variants[0].checkpoint.key) is None
    assert not (store.root / "corrupt").exists()


@pytest.mark.timeout(300)
def test_a_step_that_damages_what_it_reads_is_made_anew_once_and_not_for_ever(tmp_path, monkeypatch):
    """The step that follows finds its parent damaged each time: by a disk that rots, or by what it runs."""
    made, store = planned(tmp_path, "methods=[magnitude]", "quantizers=[none]", "measure.speed=false", "limit=1")
    dense = made.variants[0].checkpoint.key
    from harness import execution as running

    done: list[str] = []

    def rotting(nodes, *rest):
        outcome = steps(nodes, *rest)
        done.append(nodes[0].step.KIND)
        if nodes[0].key == dense:
            weights = store.folder(dense) / "checkpoint" / "model.safetensors"
            weights.write_bytes(bytes(weights.stat().st_size))
        return outcome

    steps = running.run_steps
    monkeypatch.setattr(running, "run_steps", rotting)
    summary = execute(made, store, Watch())
    assert done.count("import") == 2
    assert any("model.safetensors does not match its checksum" in reason for reason in summary.failed.values())


def test_what_a_command_starts_ends_with_the_command(tmp_path):
    orphan = "import subprocess, sys\n" + (
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'], start_new_session={})\n"
        "print(child.pid, flush=True)\n"
    )
    for own_session in (False, True):
        script = tmp_path / f"{own_session}.py"
        script.write_text(orphan.format(own_session))
        leash = [sys.executable, "-I", "-S", str(Path(environments.__file__).with_name("leash.py"))]
        done = subprocess.run(
            [*leash, sys.executable, str(script)], capture_output=True, text=True, stdin=_open(), check=True
        )
        assert gone(int(done.stdout)), f"own session: {own_session}"


def _open() -> int:
    """Return the reading end of a pipe whose other end stays open in this process."""
    reading, _ = os.pipe()
    return reading


def test_what_a_command_starts_ends_when_the_run_is_killed(tmp_path):
    script = tmp_path / "mine.py"
    script.write_text(
        "import pathlib, subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'], start_new_session=True)\n"
        "pathlib.Path('pid').write_text(str(child.pid))\ntime.sleep(600)\n"
    )
    file = command(tmp_path / "theirs", script.read_text())
    assert gone(killed_while_it_runs(file))


def test_a_link_in_the_place_of_the_output_goes_and_what_it_points_to_stays(tmp_path):
    theirs, output = tmp_path / "theirs", tmp_path / "output"
    theirs.mkdir()
    (theirs / "model.safetensors").write_bytes(b"days of work")
    output.symlink_to(theirs)
    remove(output)
    assert not output.is_symlink()
    assert (theirs / "model.safetensors").read_bytes() == b"days of work"


def test_an_exit_code_and_a_signal_reach_the_step_as_they_were(tmp_path):
    leash = [sys.executable, "-I", "-S", str(Path(environments.__file__).with_name("leash.py")), sys.executable, "-c"]
    assert subprocess.run([*leash, "raise SystemExit(3)"], stdin=_open(), check=False).returncode == 3
    dead = subprocess.run([*leash, "import os; os.kill(os.getpid(), 9)"], stdin=_open(), check=False).returncode
    assert dead == -signal.SIGKILL


@pytest.mark.parametrize("name", ["{}", "../../x", "a/b", "..", ".", "-x", ""])
def test_an_environments_name_is_no_path_and_nothing_of_others_is_emptied(tmp_path, monkeypatch, capsys, name):
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "theirs"
    folder.mkdir()
    (folder / "thesis.txt").write_text("years")
    (tmp_path / "wanted.txt").write_text("pip\n")
    assert main(["env", "create", name.format(folder), f"requirements={tmp_path / 'wanted.txt'}"]) == 2
    assert "a name is letters, digits, dots and dashes, and no path" in capsys.readouterr().err
    assert (folder / "thesis.txt").read_text() == "years"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["theirs", "wanted.txt"]


def test_a_folder_in_the_place_of_an_environment_that_is_not_ours_is_left_alone(tmp_path, monkeypatch):
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path))
    folder = environments.folder("mine")
    folder.mkdir(parents=True)
    (folder / "thesis.txt").write_text("years")
    with pytest.raises(ValueError, match="holds what no harness made, and is left alone"):
        environments.create("mine", ("pip",))
    assert (folder / "thesis.txt").read_text() == "years"


def test_an_environment_that_was_torn_by_a_kill_is_made_anew(tmp_path, monkeypatch):
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path))
    torn: list[list[str]] = []

    def kill(command: list[str], name: str) -> None:
        torn.append(command)
        environments.folder(name).mkdir(exist_ok=True)
        (environments.folder(name) / "pyvenv.cfg").touch()
        raise KeyboardInterrupt

    monkeypatch.setattr(environments, "_run", kill)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            environments.create("mine", ("pip",), tell=lambda text: None)
    assert len(torn) == 2


def test_a_store_is_never_laid_into_a_folder_of_other_things(tmp_path):
    (tmp_path / "thesis.txt").write_text("years")
    with pytest.raises(ValueError, match="is a folder with other things in it"):
        Store(tmp_path).prepare()
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]
