"""Places that cannot be read or written are told before the work.

What is there and not ours is never replaced.
"""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from runs import planned, ran, words

from harness.cli import main
from harness.execution import Watch, execute
from harness.executors import local, server
from harness.machine import caches
from harness.machine.environment import has_bfloat16, threads
from reports.written.folder import MARK, foreign, formats

QUICK = ("methods=[dense]", "quantizers=[none]", "measure.speed=false", "limit=1")


@pytest.mark.parametrize("verb", ["run", "plan"])
@pytest.mark.parametrize("place", ["/proc/x", "/dev/null/x", "{file}/x"])
def test_a_bad_last_place_is_told_before_the_first_step(tmp_path, capsys, verb, place):
    (tmp_path / "file").write_text("")
    folder = place.format(file=tmp_path / "file")
    assert main([verb, *words(tmp_path, *QUICK, f"report={folder}")]) == 2
    assert f"report={folder} cannot be written" in capsys.readouterr().err
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize("verb", [["ls"], ["report"], ["compare", "a", "b"], ["gate", "baseline=x"], ["doctor"]])
@pytest.mark.parametrize("place", ["{}/nope", "{}/file", "/etc"])
def test_a_store_that_is_none_is_told_and_no_traceback(tmp_path, capsys, verb, place):
    (tmp_path / "file").write_text("")
    folder = place.format(tmp_path)
    code = main([*verb, f"store={folder}"])
    said = "".join(capsys.readouterr())
    if verb == ["doctor"] and not Path(folder).exists():
        return  # nothing to check is no fault
    assert code in (1, 2)
    assert f"store={folder}" in said


def test_a_users_file_of_a_reports_name_is_never_replaced(tmp_path, capsys):
    report = tmp_path / "report"
    report.mkdir()
    (report / "report.md").write_text("my thesis")
    assert main(["run", *words(tmp_path, *QUICK)]) == 2
    assert f"report={report} holds report.md, which no harness wrote" in capsys.readouterr().err
    assert (report / "report.md").read_text() == "my thesis"
    assert [path.name for path in report.iterdir()] == ["report.md"]
    assert foreign(report) == ["report.md"]
    (report / MARK).touch()
    assert foreign(report) == []


@pytest.mark.timeout(300)
def test_a_folder_in_a_thousand_others_is_refused_in_a_line(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["plan", "model=random-llama", "methods=[dense]", "store=" + "x/" * 1500]) == 2
    assert capsys.readouterr().err.endswith("cannot be written: it lies too deep; choose another\n")
    assert not list(tmp_path.iterdir())


def test_a_report_stands_beside_other_files_and_is_written_with_the_users_umask(tmp_path):
    report = tmp_path / "report"
    report.mkdir()
    (report / "notes.txt").write_text("mine")
    code = "import sys; from harness.cli import main; sys.exit(main(sys.argv[1:]) or main(sys.argv[1:]))"  # twice
    command = [sys.executable, "-c", code, "run", *words(tmp_path, *QUICK)]
    subprocess.run(command, check=True, capture_output=True, umask=0o027)
    assert {path.name for path in report.iterdir()} == {
        *[file for form in formats().values() for file in form.FILES],
        MARK,
        "notes.txt",
    }
    written = [
        path for folder in (report, tmp_path / "store") for path in folder.rglob("*") if path.name != "notes.txt"
    ]
    modes = {
        path: stat.S_IMODE(path.stat().st_mode) for path in written if path.is_file() and "scratch" not in path.parts
    }
    assert {path.name for path, mode in modes.items() if mode & 0o027} == set(), "no more than the umask allows"
    assert {path.name for path, mode in modes.items() if mode & 0o640 != 0o640} == set(), "and no less"


@pytest.mark.timeout(300)
def test_a_disk_that_fills_up_in_a_run_is_a_row_a_report_and_exit_code_1(tmp_path, monkeypatch, capsys):
    """The step's own commit, the record of its failure, the run's record and the report.

    None can be written.
    """
    full = OSError(28, "No space left on device")

    def write(path, content):
        raise full

    outcome = local.Outcome(1.0, "the disk is full: OSError: [Errno 28] No space left on device")
    monkeypatch.setattr("harness.execution.run_steps", lambda *_: outcome)
    monkeypatch.setattr("harness.storage.store.write_sealed", write)
    monkeypatch.setattr("reports.page.html.page", lambda *_: (_ for _ in ()).throw(full))
    assert main(["run", *words(tmp_path, *QUICK)]) == 1
    said = " ".join(capsys.readouterr().out.split())
    assert "failed: the disk is full" in said
    assert "the failure could not be recorded: No space left on device" in said
    assert "the run's record could not be written: the disk is full" in said
    assert f"report={tmp_path / 'report'} could not be written: the disk is full" in said


@pytest.mark.timeout(300)
def test_what_another_run_stored_meanwhile_is_not_claimed(tmp_path, monkeypatch):
    made, store = planned(tmp_path, *QUICK)
    dense = made.variants[0].checkpoint.key
    first = execute(made, store, Watch())
    assert (first.meanwhile, len(first.executed)) == (0, 3)
    monkeypatch.setattr("harness.execution._sound", lambda node, *_: node.key != dense)
    second = execute(made, store, Watch())
    assert (second.stored, second.meanwhile, second.executed) == (2, 1, [])
    assert store.has(dense)


def test_a_long_tmpdir_is_no_reason_to_fail(tmp_path, monkeypatch):
    long = tmp_path / ("t" * 100)
    long.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    settings = server.multiprocessing.process.current_process()._config
    monkeypatch.delitem(settings, "tempdir", raising=False)
    server._within_reach()
    assert len(settings["tempdir"]) < 60
    Path(settings["tempdir"]).rmdir()
    settings.pop("tempdir")  # what was there before comes back, this one does not


def test_a_home_that_takes_no_files_names_the_way_out(tmp_path):
    """In a process of its own: the hub's libraries read the environment once."""
    gone = ("HARNESS_CACHE", "XDG_CACHE_HOME", *caches.HUB)
    bare = {name: value for name, value in os.environ.items() if name not in gone} | {"HOME": "/dev/null"}
    plan = [sys.executable, "-m", "harness", "plan", *words(tmp_path, *QUICK)]
    done = subprocess.run(plan, env=bare, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "HARNESS_CACHE=FOLDER" in done.stderr
    kept = {**bare, "HARNESS_CACHE": str(tmp_path / "cache")}
    code = (
        "from harness import cli; from harness.machine import caches; cli.main(['methods']); print(caches.hub_folder())"
    )
    done = subprocess.run([sys.executable, "-c", code], env=kept, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == str(tmp_path / "cache" / "huggingface")


@pytest.mark.parametrize(
    ("written", "count"), [("3", 3), ("2,1", 2), (" 4 ", 4), ("", None), ("many", None), ("0", None), ("-1", None)]
)
def test_threads_are_what_openmp_reads(monkeypatch, written, count):
    monkeypatch.setenv("OMP_NUM_THREADS", written)
    assert threads() == (count or len(os.sched_getaffinity(0)))


def test_a_card_that_is_not_used_makes_no_dtype(monkeypatch):
    monkeypatch.setattr("harness.machine.environment.accelerators", lambda: ("NVIDIA H100",))
    monkeypatch.setattr("harness.machine.environment.cpu_flags", lambda: frozenset())
    monkeypatch.setattr("harness.machine.environment.torch_has_cuda", lambda: True)
    assert not has_bfloat16("cpu")
    assert has_bfloat16("auto")
    monkeypatch.setattr("harness.machine.environment.torch_has_cuda", lambda: False)
    assert not has_bfloat16("auto"), "a build of torch for CPUs computes on the CPU"
    monkeypatch.setattr("harness.machine.environment.cpu_flags", lambda: frozenset({"avx512_bf16"}))
    assert has_bfloat16("cpu")


def test_ran_leaves_nothing_in_the_working_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ran(tmp_path / "there", *QUICK)
    assert [path.name for path in tmp_path.iterdir()] == ["there"]
