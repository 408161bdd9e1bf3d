"""The process that steps are forked from, with the imports done.

How it is started, and how the threads of steps wait.
"""

from __future__ import annotations

import atexit
import multiprocessing
import multiprocessing.forkserver
import multiprocessing.process
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from harness.machine import waiting

LONGEST = 60  # letters of the folder of a socket, whose whole path takes about a hundred
ASLEEP = "other processes hold cores of this machine: threads sleep while they wait (OMP_WAIT_POLICY=passive)"


@dataclass
class Server:
    """How the next process is started: `method` of multiprocessing, `asleep` threads.

    `serving` is how it runs now.
    """

    method: str = "forkserver"
    preload: tuple[str, ...] = ("harness.executors.warm",)
    asleep: bool = False
    serving: bool = False

    @contextmanager
    def context(self, *, timed: bool, notice: Callable[[str], None]) -> Iterator[Any]:
        """Give what starts processes.

        Threads sleep while they wait from the first step on that finds cores taken.

        Timed steps wait as ever. The library of threads reads how when it is loaded, so the server is started anew.
        """
        _within_reach()
        if not timed and not self.asleep and waiting.crowded():
            self.asleep = True
            notice(ASLEEP)
        asleep = self.asleep and not timed
        if asleep != self.serving:
            multiprocessing.forkserver._forkserver._stop()  # type: ignore[attr-defined]
            self.serving = asleep
        context: Any = multiprocessing.get_context(self.method)
        if self.method == "forkserver":
            context.set_forkserver_preload(list(self.preload))
        if asleep:
            os.environ[waiting.POLICY] = "passive"
        try:
            yield context
        finally:
            if asleep:
                del os.environ[waiting.POLICY]


def _within_reach() -> None:
    """Let the sockets of our processes lie where their paths are short enough.

    A long TMPDIR is not such a place.
    """
    settings: dict[str, Any] = multiprocessing.process.current_process()._config  # type: ignore[attr-defined]
    if settings.get("tempdir") or len(tempfile.gettempdir()) <= LONGEST:
        return
    place = next((path for path in ("/tmp", "/var/tmp", "/dev/shm") if os.access(path, os.W_OK | os.X_OK)), None)
    if place is None:
        raise ValueError(f"TMPDIR={tempfile.gettempdir()} is too long for the sockets of processes; set a shorter one")
    settings["tempdir"] = tempfile.mkdtemp(prefix="pymp-", dir=place)
    atexit.register(shutil.rmtree, settings["tempdir"], ignore_errors=True)


SERVER = Server()
