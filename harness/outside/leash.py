"""Runs one command and ends it, with everything it started.

When it is done, or when whoever started us is gone.

Started as a program of its own, with the command as arguments and a pipe as standard input that nothing is written into: its end
tells that our parent died, in whatever way. Needs the standard library alone.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

PR_SET_CHILD_SUBREAPER = 36
PATIENCE = 2.0  # seconds between the word to end and the end
MISSING = 127  # exit code of a program that cannot be started, as shells have it


def main(command: list[str]) -> None:
    """Run the command; leave with its exit code, or by the signal that ended it."""
    if sys.platform == "linux":  # what the command starts and leaves becomes ours
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)
    try:
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)
    except OSError as error:
        print(f"{command[0]}: {error.strerror}", file=sys.stderr)
        sys.exit(MISSING)
    threading.Thread(target=_end_with_parent, args=(child.pid,), daemon=True).start()
    code = child.wait()
    end(child.pid)
    if code < 0:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        signal.signal(-code, signal.SIG_DFL) if -code not in (signal.SIGKILL, signal.SIGSTOP) else None
        os.kill(os.getpid(), -code)
    sys.exit(code)


def _end_with_parent(group: int) -> None:
    os.read(0, 1)  # returns when the other end is closed
    end(group)
    os._exit(1)


def end(group: int) -> None:
    """End the process group and whatever else has become a child of ours.

    First by a word, then for certain.
    """
    for sign in (signal.SIGTERM, signal.SIGKILL):
        until = time.monotonic() + PATIENCE
        _tell(group, sign)
        while (_alive(group) or _children(group)) and time.monotonic() < until:
            _collect(group)
            time.sleep(0.02)


def _tell(group: int, sign: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, sign)
    for process in _children(group):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(process, sign)


def _alive(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def _children(group: int) -> list[int]:
    """Return our children other than the group's leader, which its own waiter collects.

    None where the system does not tell.
    """
    me, children = os.getpid(), []
    for status in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError, IndexError, ValueError):
            fields = status.read_text(errors="replace").rpartition(")")[2].split()
            if int(fields[1]) == me and fields[0] != "Z" and int(status.parent.name) != group:
                children.append(int(status.parent.name))
    return children


def _collect(group: int) -> None:
    """Let go of children that have ended, except the leader."""
    for status in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError, IndexError, ValueError):
            fields = status.read_text(errors="replace").rpartition(")")[2].split()
            if int(fields[1]) == os.getpid() and fields[0] == "Z" and int(status.parent.name) != group:
                os.waitpid(int(status.parent.name), os.WNOHANG)


if __name__ == "__main__":
    main(sys.argv[1:])
