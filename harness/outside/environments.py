"""Environments of their own for tools that cannot live beside ours.

Made once, named, checked before hours are spent.
"""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from harness.machine.caches import cache_folder
from harness.words.nearest import nearest

# what is known to work together; a later version of any of them may not
PINS: dict[str, tuple[str, ...]] = {
    "sparseml": (
        "sparseml[transformers]==1.8.0",
        "sparsezoo==1.8.1",
        "torch==2.13.0",
        "setuptools<81",
        "pyarrow<20",
        "compressed-tensors==0.4.0",
    ),
}
COMPLETE = "harness-requirements.txt"  # written last: what the environment was made of
BEGUN = ".begun"  # beside the folder, written first: it is ours, to be cleared if need be
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def folder(name: str) -> Path:
    """Return where the environment of that name lies, whether it is there or not.

    ValueError for what is no plain name.
    """
    if not NAME.fullmatch(name):
        raise ValueError(f"environment {name!r}: a name is letters, digits, dots and dashes, and no path")
    return _home() / name


def _home() -> Path:
    return cache_folder() / "environments"


def interpreter(name: str) -> Path:
    """Return the environment's Python; ValueError where it was not created, or not to the end."""
    if not (folder(name) / COMPLETE).is_file():
        raise ValueError(f"environment {name} is not there; `harness env create {name}` builds it")
    return folder(name) / "bin" / "python"


def requirements(name: str) -> str:
    """Return what the environment was made of, a requirement a line: part of the key of what runs in it."""
    interpreter(name)
    return (folder(name) / COMPLETE).read_text()


def known() -> list[str]:
    """Return the names of complete environments."""
    return sorted(path.parent.name for path in _home().glob(f"*/{COMPLETE}"))


def create(name: str, wanted: tuple[str, ...] = (), *, tell: Callable[[str], None] = print) -> Path:
    """Make the environment `name` of the requirements `wanted`.

    Or of what is known to work under that name.

    What is there already and made of the same is left alone. ValueError for a name nothing is known of, and with the
    installer's last words when it fails; then nothing is left that `interpreter` would take.
    """
    place = folder(name)
    wanted = wanted or PINS.get(name, ())
    if not wanted:
        raise ValueError(
            f"environment {name}: nothing is known of it; {nearest(name, list(PINS))}; or requirements=FILE"
        )
    content = "".join(f"{line}\n" for line in wanted)
    if (place / COMPLETE).is_file() and (place / COMPLETE).read_text() == content:
        tell(f"environment {name} is there")
        return place
    begun = place.with_name(f".{name}{BEGUN}")
    ours = begun.is_file() or (place / COMPLETE).is_file()
    if place.exists() and not ours and (not place.is_dir() or any(place.iterdir())):
        raise ValueError(
            f"environment {name}: {place} holds what no harness made, and is left alone; choose another name"
        )
    place.parent.mkdir(parents=True, exist_ok=True)
    begun.touch()
    (place / COMPLETE).unlink(missing_ok=True)
    tell(f"making environment {name} in {place}: {', '.join(wanted)}")
    _run([sys.executable, "-m", "venv", "--clear", str(place)], name)
    _run([str(place / "bin" / "python"), "-m", "pip", "install", "--quiet", *wanted], name)
    (place / COMPLETE).write_text(content)
    tell(f"environment {name} is complete")
    return place


def digest(name: str) -> str:
    """Return the sha256 of what the environment was made of."""
    return hashlib.sha256(requirements(name).encode()).hexdigest()


def _run(command: list[str], name: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines() or ["no word"]
        raise ValueError(f"environment {name}: {said[-1]}")
