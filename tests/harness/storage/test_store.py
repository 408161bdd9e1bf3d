"""A stored step is complete or absent, its bytes are checked, and several runs share one store."""

from __future__ import annotations

import contextlib
import fcntl
import json
import multiprocessing
import os
import signal
import time
from pathlib import Path

import pytest

import harness.storage.store
from harness.storage.sealed import write_json
from harness.storage.store import RECORD, Corrupt, Store

processes = multiprocessing.get_context("spawn")  # a fresh interpreter, as another `harness run` is


@pytest.fixture
def store(tmp_path: Path) -> Store:
    kept = Store(tmp_path / "store")
    kept.prepare()
    return kept


def put(store: Store, key: str, text: str = "weights") -> Path:
    """Store a step of two files, one in a folder, and return where it lies."""
    with store.draft(key) as draft:
        (draft / "checkpoint").mkdir()
        (draft / "checkpoint" / "model.bin").write_text(text)
        (draft / "facts.txt").write_text("two")
        store.commit(key, draft, {"result": {"parameters": 7}})
    return store.folder(key)


def leftovers(store: Store) -> list[Path]:
    return list((store.root / "drafts").iterdir())


def test_a_stored_step_keeps_files_and_facts(store):
    folder = put(store, "a", "bytes")
    assert store.has("a")
    assert store.damage("a") is None
    assert (folder / "checkpoint" / "model.bin").read_text() == "bytes"
    assert store.result("a") == {"parameters": 7}
    assert set(store.record("a")["files"]) == {"checkpoint/model.bin", "facts.txt"}
    assert leftovers(store) == []


def die_while_drafting(store: Store, key: str) -> None:
    with store.draft(key) as draft:
        (draft / "half").write_text("half")
        raise RuntimeError("out of memory")


def test_an_exception_while_drafting_leaves_nothing(store):
    with pytest.raises(RuntimeError, match="out of memory"):
        die_while_drafting(store, "a")
    assert not store.has("a")
    assert store.keys() == leftovers(store) == []


def test_a_draft_that_is_not_committed_is_thrown_away(store):
    with store.draft("a") as draft:
        (draft / "whole").write_text("whole")
    assert not store.has("a")
    assert leftovers(store) == []


def test_a_torn_draft_is_invisible_and_goes_when_the_step_is_redone(store):
    torn, foreign = store.root / "drafts" / "a.99999", store.root / "drafts" / "ab.99999"
    for folder in (torn, foreign):
        folder.mkdir()
        (folder / RECORD).write_text("{}")
    assert not store.has("a")
    assert store.keys() == []
    with store.draft("a") as draft:
        assert list(draft.iterdir()) == []
        assert not torn.exists()
    assert foreign.exists()  # another step's: its run may be alive


@pytest.mark.parametrize("last_words", ["sha256_file", "write_sealed"])
def test_a_commit_that_fails_halfway_stores_nothing(store, monkeypatch, last_words):
    def full(*_: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(harness.storage.store, last_words, full)
    with pytest.raises(OSError, match="no space"):
        put(store, "a")
    monkeypatch.undo()
    assert not store.has("a")
    assert store.keys() == leftovers(store) == []
    put(store, "a")
    assert store.has("a")


def test_a_step_appears_with_all_its_files_in_one_rename(store, monkeypatch):
    seen = []
    rename = Path.rename

    def watched(path: Path, target: Path) -> Path:
        seen.append((store.folder("a").exists(), sorted(item.name for item in path.rglob("*") if item.is_file())))
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", watched)
    put(store, "a")
    assert seen == [(False, ["facts.txt", "model.bin", RECORD])]
    assert store.has("a")


def test_a_flipped_byte_is_found_by_the_checksum_alone(store):
    path = put(store, "a", "weights") / "checkpoint" / "model.bin"
    path.write_text("weightz")
    assert store.has("a")  # the cheap check compares sizes
    assert store.damage("a") == "checkpoint/model.bin does not match its checksum"
    with pytest.raises(Corrupt, match=r"model\.bin does not match its checksum"):
        store.verify("a")


def test_a_file_of_another_size_makes_the_step_absent(store):
    path = put(store, "a") / "facts.txt"
    path.write_text("tw")
    assert not store.has("a")
    path.unlink()
    assert not store.has("a")
    assert store.damage("a") == "facts.txt is missing"


@pytest.mark.parametrize("record", ["", "{", "{}", "\x80"])
def test_a_step_without_a_readable_record_is_absent(store, record):
    (put(store, "a") / RECORD).write_bytes(record.encode("latin-1"))
    assert not store.has("a")
    with pytest.raises(Corrupt, match=r"step\.json (is no whole JSON|carries no checksum)"):
        store.verify("a")


def test_steps_are_listed_oldest_first(store):
    for age, key in enumerate(["c", "a", "b"]):
        os.utime(put(store, key), (1000 + age, 1000 + age))
    assert store.keys() == ["c", "a", "b"]


def test_a_step_without_a_readable_record_is_not_listed(store):
    put(store, "whole")
    (put(store, "torn") / RECORD).write_text("")
    assert store.keys() == ["whole"]  # `plan`, `run` and `ls` read the record of every one listed


def test_a_corrupt_step_is_set_aside_with_its_files_and_can_be_redone(store):
    (put(store, "a", "weights") / "checkpoint" / "model.bin").write_text("weightz")
    kept = store.set_aside("a")
    assert not store.has("a")
    assert (kept / "checkpoint" / "model.bin").read_text() == "weightz"
    put(store, "a", "weights")
    assert store.damage("a") is None
    assert (kept / "checkpoint" / "model.bin").read_text() == "weightz"


def test_committing_over_a_stored_step_keeps_the_old_one_aside(store):
    put(store, "a", "old")
    put(store, "a", "new")
    assert (store.folder("a") / "checkpoint" / "model.bin").read_text() == "new"
    [old] = (store.root / "corrupt").iterdir()
    assert (old / "checkpoint" / "model.bin").read_text() == "old"


def test_a_failure_is_remembered_until_the_step_succeeds(store):
    assert store.failure("a") is None
    store.fail("a", "diverged", kind="compress")
    assert store.failure("a") == {"key": "a", "reason": "diverged", "log": str(store.log("a")), "kind": "compress"}
    store.fail("b", "unrelated")
    put(store, "a")
    assert store.failure("a") is None
    assert store.failure("b") is not None


def test_scratch_outlives_a_failed_attempt_and_ends_with_the_commit(store):
    (store.scratch("a") / "training.safetensors").write_text("step 9")
    with contextlib.suppress(RuntimeError):
        die_while_drafting(store, "a")
    assert (store.scratch("a") / "training.safetensors").read_text() == "step 9"
    put(store, "a")
    assert list(store.scratch("a").iterdir()) == []


def test_a_write_that_fails_leaves_the_old_file(tmp_path):
    path = tmp_path / "run.json"
    write_json(path, {"n": 1})
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(path, {"n": float("nan")})
    assert json.loads(path.read_text()) == {"n": 1}


def test_runs_are_listed_oldest_first(store):
    for name, started in (("b", 30.0), ("c", 10.0), ("a", 20.0)):
        store.save_run({"id": name, "started": started, "variants": [], "config": {}, "metrics": {}, "skipped": {}})
    assert [run["id"] for run in store.runs()] == ["c", "a", "b"]


def test_two_runs_share_a_store(tmp_path):
    first, second = Store(tmp_path / "store"), Store(tmp_path / "store" / ".." / "store")
    first.prepare()
    second.prepare()
    with first.draft("a") as mine, second.draft("b") as theirs:
        (mine / "file").write_text("a")
        (theirs / "file").write_text("b")
        second.commit("b", theirs, {"result": {}})
        first.commit("a", mine, {"result": {}})
    assert first.has("b")
    assert second.has("a")
    first.prepare()  # a later start harms nothing
    assert sorted(first.keys()) == ["a", "b"]


def test_an_unwritable_place_is_named_before_any_work(tmp_path):
    file = tmp_path / "file"  # a path below a file: fails for root too, unlike permissions
    file.write_text("")
    with pytest.raises(ValueError, match=f"store={file}/deep/store cannot be written.*store=FOLDER"):
        Store(file / "deep" / "store").prepare()


def _lock(root: Path, key: str, pipe) -> None:
    pipe.send("asking")
    with Store(root).lock(key):
        pipe.send("holding")
        pipe.recv()


@contextlib.contextmanager
def locking(store: Store, key: str):
    """A second process that asks for the lock, and is killed at the end.

    It says on the pipe when it holds the lock.
    """
    ours, theirs = processes.Pipe()
    other = processes.Process(target=_lock, args=(store.root, key, theirs))
    other.start()
    try:
        assert ours.poll(60)
        assert ours.recv() == "asking"
        yield other, ours
    finally:
        other.kill()
        other.join()


@pytest.mark.timeout(120)
def test_a_lock_excludes_a_second_process_until_it_is_released(store):
    with contextlib.ExitStack() as stack:
        lock = stack.enter_context(contextlib.ExitStack())
        lock.enter_context(store.lock("a"))
        _, pipe = stack.enter_context(locking(store, "a"))
        assert not pipe.poll(0.3)
        lock.close()
        assert pipe.poll(60)


@pytest.mark.timeout(120)
def test_a_lock_leaves_other_steps_free(store):
    with store.lock("a"), locking(store, "b") as (_, pipe):
        assert pipe.poll(60)


@pytest.mark.timeout(120)
def test_a_killed_process_leaves_no_lock(store):
    with locking(store, "a") as (other, pipe):
        assert pipe.poll(60)
        assert pipe.recv() == "holding"
        with (store.root / "locks" / "a").open("w") as stream, pytest.raises(BlockingIOError):
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.kill(other.pid, signal.SIGKILL)
        other.join()
        with store.lock("a"):  # or the timeout above ends this
            pass


def _once(root: Path, key: str) -> None:
    store = Store(root)
    with store.lock(key):
        if store.has(key):
            return
        with store.draft(key) as draft:
            time.sleep(0.2)
            (draft / "worker").write_text(str(os.getpid()))
            store.commit(key, draft, {"result": {"pid": os.getpid()}})
        with (root / "worked").open("a") as stream:
            stream.write("x")


@pytest.mark.timeout(120)
def test_two_runs_that_want_one_step_do_it_once(store):
    both = [processes.Process(target=_once, args=(store.root, "a")) for _ in range(2)]
    for process in both:
        process.start()
    for process in both:
        process.join()
    assert [process.exitcode for process in both] == [0, 0]
    assert (store.root / "worked").read_text() == "x"
    assert store.damage("a") is None
