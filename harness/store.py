"""Content-addressed results on disk: every step is complete or absent, and a torn or corrupt one is redone."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

RECORD = "step.json"


class Corrupt(ValueError):
    """A stored step, `key`, whose files do not match their checksums."""

    def __init__(self, key: str, damage: str) -> None:
        super().__init__(f"stored step {key[:12]}: {damage}")
        self.key = key


def sha256_file(path: Path) -> str:
    """Return the hex sha256 of a file's bytes."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest() if hasattr(hashlib, "file_digest") else _digest(stream)


def _digest(stream: Any) -> str:
    digest = hashlib.sha256()  # Python 3.10 has no file_digest
    while block := stream.read(1 << 20):
        digest.update(block)
    return digest.hexdigest()


def write_json(path: Path, content: Any) -> None:
    """Write `content` so that a reader sees the old file or the new one, never half of one."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    with draft.open("w") as stream:
        json.dump(content, stream, indent=1, allow_nan=False)
        stream.flush()
        os.fsync(stream.fileno())
    draft.replace(path)


class Store:
    """Steps by key under `root`. Several processes and runs may share one."""

    def __init__(self, root: Path) -> None:
        self.root = root.expanduser().resolve()

    def prepare(self) -> None:
        """Create the folders; ValueError when the place cannot be written."""
        try:
            for name in ("steps", "drafts", "scratch", "failures", "logs", "runs", "locks"):
                (self.root / name).mkdir(parents=True, exist_ok=True)
            probe = self.root / "drafts" / f".probe-{os.getpid()}"
            probe.write_bytes(b"x")
            probe.unlink()
        except OSError as error:
            raise ValueError(
                f"store={self.root} cannot be written: {error.strerror or error}; choose another with store=FOLDER"
            ) from None

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
        """Tell whether the step is stored and its files have their recorded sizes."""
        try:
            files = self.record(key)["files"]
            return all(_size(self.folder(key) / name) == entry["size"] for name, entry in files.items())
        except (OSError, ValueError, KeyError, TypeError):
            return False

    def record(self, key: str) -> dict[str, Any]:
        return json.loads((self.folder(key) / RECORD).read_text())

    def result(self, key: str) -> dict[str, Any]:
        """Return the facts that the step recorded."""
        return self.record(key)["result"]

    def damage(self, key: str) -> str | None:
        """Return what is wrong with the stored step's bytes, or None; reads every file."""
        try:
            files = self.record(key)["files"]
        except (OSError, ValueError, KeyError) as error:
            return f"{RECORD} is unreadable ({error})"
        for name, entry in files.items():
            path = self.folder(key) / name
            if not path.is_file():
                return f"{name} is missing"
            if sha256_file(path) != entry["sha256"]:
                return f"{name} does not match its checksum"
        return None

    def verify(self, key: str) -> None:
        """Raise Corrupt when a file differs from what was stored."""
        if damage := self.damage(key):
            raise Corrupt(key, damage)

    def set_aside(self, key: str) -> Path:
        """Move a corrupt step out of the way, keeping it for inspection, so that it is redone."""
        target = self.root / "corrupt" / f"{key}-{time.time_ns()}"
        target.parent.mkdir(exist_ok=True)
        self.folder(key).rename(target)
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
            files[str(path.relative_to(draft))] = {"size": path.stat().st_size, "sha256": sha256_file(path)}
            with path.open("rb") as stream:
                os.fsync(stream.fileno())
        write_json(draft / RECORD, {**record, "key": key, "files": files})
        final = self.folder(key)
        if final.exists():
            self.set_aside(key)
        draft.rename(final)
        _fsync_folder(final.parent)
        shutil.rmtree(self.root / "scratch" / key, ignore_errors=True)
        self.forget_failure(key)

    def fail(self, key: str, reason: str, **facts: Any) -> None:
        """Record why a step failed; the next run tries it again."""
        write_json(
            self.root / "failures" / f"{key}.json", {"key": key, "reason": reason, "log": str(self.log(key)), **facts}
        )

    def failure(self, key: str) -> dict[str, Any] | None:
        path = self.root / "failures" / f"{key}.json"
        return json.loads(path.read_text()) if path.is_file() else None

    def forget_failure(self, key: str) -> None:
        (self.root / "failures" / f"{key}.json").unlink(missing_ok=True)

    def keys(self) -> list[str]:
        """Return every complete step's key, oldest first."""
        found = [path.parent for path in (self.root / "steps").glob(f"*/{RECORD}")]
        folders = [folder for folder in found if self.has(folder.name)]
        return [folder.name for folder in sorted(folders, key=lambda folder: folder.stat().st_mtime)]

    def save_run(self, run: dict[str, Any]) -> Path:
        """Remember which variants a run compared; reports are derived from it."""
        path = self.root / "runs" / f"{run['id']}.json"
        write_json(path, run)
        return path

    def runs(self) -> list[dict[str, Any]]:
        """Return the recorded runs, oldest first."""
        return sorted(
            (json.loads(path.read_text()) for path in (self.root / "runs").glob("*.json")),
            key=lambda run: run["started"],
        )


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
