"""Content-addressed results on disk.

Every step is complete or absent, and a torn or corrupt one is redone.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from harness.storage import released
from harness.storage.sealed import Damaged, read_sealed, write_sealed
from harness.storage.writable import writable
from harness.words.home import home

RECORD = "step.json"
FOLDERS = ("steps", "drafts", "scratch", "failures", "logs", "runs", "locks")
RECORDED: dict[str, type] = {"key": str, "files": dict, "result": dict}  # what every step's record holds
RUN: dict[str, type] = {"id": str, "variants": list}  # and every run's


class Corrupt(ValueError):
    """A stored step, `key`, whose record or files are not what was stored."""

    def __init__(self, key: str, damage: str) -> None:
        super().__init__(f"stored step {key[:12]}: {damage}; the next harness run makes it anew")
        self.key, self.damage = key, damage


def sha256_file(path: Path) -> str:
    """Return the hex sha256 of a file's bytes."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


class Store:
    """Steps by key under `root`. Several processes and runs may share one."""

    def __init__(self, root: Path) -> None:
        self.root = home(root).resolve()

    def prepare(self) -> None:
        """Create the folders; ValueError when the place cannot be written, or is somebody else's."""
        if self.root.is_dir() and not self.is_store() and any(self.root.iterdir()):
            raise ValueError(
                f"store={self.root} is a folder with other things in it; name one that is empty or not there yet"
            )
        writable(self.root, "store")
        for name in FOLDERS:
            (self.root / name).mkdir(parents=True, exist_ok=True)

    def is_store(self) -> bool:
        """Tell whether the folder is a store of ours: it has a place for steps, or for runs."""
        return (self.root / "steps").is_dir() or (self.root / "runs").is_dir()

    def opened(self) -> Store:
        """Return the store, to be read; ValueError where the folder is not there or is none of ours."""
        if not self.root.exists():
            raise ValueError(f"store={self.root}: no such folder; start with harness run suite=demo")
        if not self.is_store():
            raise ValueError(f"store={self.root} is no store of ours; name the one that harness run wrote to")
        return self

    def folder(self, key: str) -> Path:
        return self.root / "steps" / key

    def log(self, key: str) -> Path:
        return self.root / "logs" / f"{key}.log"

    def scratch(self, key: str) -> Path:
        """Return the place where a long step keeps what it must not lose when killed."""
        folder = self.root / "scratch" / key
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def has(self, key: str) -> bool:
        """Tell whether the step is stored, its record is sound and its files have their recorded sizes.

        Weights that were let go need not be there.
        """
        try:
            files = self.record(key)["files"]
        except Corrupt:
            return False
        gone = released.released(self.folder(key))
        return all(_size(self.folder(key) / name) == files[name]["size"] for name in files if name not in gone)

    def released(self, key: str) -> bool:
        """Tell whether the step's weights were let go.

        It counts as stored, and what reads them makes it again.
        """
        return bool(released.released(self.folder(key)))

    def release(self, key: str) -> int:
        """Delete the weights of a stored step and return their bytes; its record and its other files stay."""
        return released.release(self.folder(key), self.record(key)["files"])

    def record(self, key: str) -> dict[str, Any]:
        """Return what is recorded of the step; Corrupt where the record is not what was written."""
        try:
            content = read_sealed(self.folder(key) / RECORD)
        except Damaged as error:
            raise Corrupt(key, f"{RECORD} {error.why}") from None
        lacking = [name for name, kind in RECORDED.items() if not isinstance(content.get(name), kind)]
        if lacking:
            raise Corrupt(key, f"{RECORD} holds no {', '.join(lacking)}")
        if content["key"] != key:
            raise Corrupt(key, f"{RECORD} is the record of another step, {content['key'][:12]}")
        return content

    def result(self, key: str) -> dict[str, Any]:
        """Return the facts that the step recorded."""
        return self.record(key)["result"]

    def file(self, key: str, name: str) -> Path | None:
        """Return a file of the step, its bytes checked; None where the step wrote none of that name.

        Corrupt otherwise.
        """
        entry = self.record(key)["files"].get(name)
        if entry is None:
            return None
        if damage := self._damage(key, name, entry):
            raise Corrupt(key, damage)
        return self.folder(key) / name

    def damage(self, key: str, *, weights: bool = True) -> str | None:
        """Return what is wrong with the stored step's bytes, or None.

        Reads every file, weights only if asked for.
        """
        try:
            files = self.record(key)["files"]
        except Corrupt as error:
            return error.damage
        gone = released.released(self.folder(key))
        read = (name for name in files if name not in gone and (weights or not name.endswith(released.WEIGHTS)))
        wanted = ((name, files[name]) for name in read)
        return next((damage for name, entry in wanted if (damage := self._damage(key, name, entry))), None)

    def _damage(self, key: str, name: str, entry: dict[str, Any]) -> str | None:
        path = self.folder(key) / name
        if not path.is_file():
            return f"{name} is missing"
        return None if sha256_file(path) == entry["sha256"] else f"{name} does not match its checksum"

    def verify(self, key: str) -> None:
        """Raise Corrupt when a file differs from what was stored."""
        if damage := self.damage(key):
            raise Corrupt(key, damage)

    def set_aside(self, key: str) -> Path:
        """Move a step out of the way, keeping it for inspection, so that it is redone."""
        return self._aside(self.folder(key))

    def _replace(self, key: str) -> None:
        """Make room for a step that is made again: one without weights is worth no inspection."""
        if self.released(key):
            shutil.rmtree(self.folder(key))
        else:
            self.set_aside(key)

    def _aside(self, path: Path) -> Path:
        target = self.root / "corrupt" / f"{path.name}-{time.time_ns()}"
        target.parent.mkdir(exist_ok=True)
        path.rename(target)
        return target

    @contextlib.contextmanager
    def lock(self, key: str) -> Iterator[None]:
        """Hold the step against other runs that share this store; freed by the kernel if we die."""
        with (self.root / "locks" / key).open("w") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX)
            yield

    @contextlib.contextmanager
    def draft(self, key: str) -> Iterator[Path]:
        """Yield an empty folder to fill; it is thrown away unless `commit` took it."""
        for stale in (self.root / "drafts").glob(f"{key}.*"):
            shutil.rmtree(stale, ignore_errors=True)  # torn by a kill; the lock says nobody else writes it
        folder = self.root / "drafts" / f"{key}.{os.getpid()}"
        folder.mkdir(parents=True)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def commit(self, key: str, draft: Path, record: dict[str, Any]) -> None:
        """Make the draft the stored step: checksums, fsync, then one rename."""
        files = {}
        for path in sorted(item for item in draft.rglob("*") if item.is_file()):
            path.chmod(0o666 & ~_umask())  # libraries write some files for the owner alone, whatever the umask says
            files[str(path.relative_to(draft))] = {"size": path.stat().st_size, "sha256": sha256_file(path)}
            with path.open("rb") as stream:
                os.fsync(stream.fileno())
        write_sealed(draft / RECORD, {**record, "key": key, "files": files})
        final = self.folder(key)
        if final.exists():
            self._replace(key)
        draft.rename(final)
        _fsync_folder(final.parent)
        shutil.rmtree(self.root / "scratch" / key, ignore_errors=True)
        self.forget_failure(key)

    def fail(self, key: str, reason: str, **facts: Any) -> None:
        """Record why a step failed; the next run tries it again."""
        write_sealed(
            self.root / "failures" / f"{key}.json", {"key": key, "reason": reason, "log": str(self.log(key)), **facts}
        )

    def failure(self, key: str) -> dict[str, Any] | None:
        """Return the record of a step's last failure; None for none. Of a damaged one, that it is damaged."""
        path = self.root / "failures" / f"{key}.json"
        if not path.is_file():
            return None
        try:
            content = read_sealed(path)
        except Damaged as error:
            return {"key": key, "log": str(self.log(key)), "reason": f"failed, and {error}"}
        return {"reason": "no reason recorded", "log": str(self.log(key)), **content, "key": key}

    def forget_failure(self, key: str) -> None:
        (self.root / "failures" / f"{key}.json").unlink(missing_ok=True)

    def keys(self) -> list[str]:
        """Return every complete step's key, oldest first."""
        places = [path.parent for path in (self.root / "steps").glob(f"*/{RECORD}")]
        folders = [folder for folder in places if self.has(folder.name)]
        return [folder.name for folder in sorted(folders, key=lambda folder: folder.stat().st_mtime)]

    def save_run(self, run: dict[str, Any]) -> Path:
        """Remember which variants a run compared; reports are derived from it."""
        path = self.root / "runs" / f"{run['id']}.json"
        write_sealed(path, run)
        return path

    def runs(self) -> list[dict[str, Any]]:
        """Return the recorded runs that can be read, oldest first; `damaged_runs` tells the others."""
        sound = [run for path in self._run_files() if not isinstance(run := _run(path), Damaged)]
        return sorted(sound, key=lambda run: run["started"])

    def damaged_runs(self) -> list[Damaged]:
        """Return what is wrong with the records of runs that `runs` leaves out, one each."""
        return [run for path in self._run_files() if isinstance(run := _run(path), Damaged)]

    def set_damaged_runs_aside(self) -> list[Damaged]:
        """Move records of runs that cannot be read out of the way, keeping them.

        Return what was wrong with each.
        """
        damaged = self.damaged_runs()
        for error in damaged:
            self._aside(error.path)
        return damaged

    def _run_files(self) -> list[Path]:
        return sorted((self.root / "runs").glob("*.json"))


def _run(path: Path) -> dict[str, Any] | Damaged:
    """Return the run recorded in a file, or what is wrong with it."""
    try:
        content = read_sealed(path)
    except Damaged as error:
        return error
    lacking = [name for name, kind in RUN.items() if not isinstance(content.get(name), kind)]
    if lacking or not isinstance(content.get("started"), int | float):
        return Damaged(path, f"holds no {', '.join(lacking or ['start'])}")
    return content


def _umask() -> int:
    mask = os.umask(0)  # there is no way to ask without setting
    os.umask(mask)
    return mask


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return -1


def _fsync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def folder_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
