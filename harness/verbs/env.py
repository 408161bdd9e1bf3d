"""`harness env`: make an environment of its own for a tool that cannot live beside ours, or list them."""

from __future__ import annotations

from pathlib import Path

from harness.outside import environments
from harness.verbs.words import names_and_options, one_of

ACTIONS = ("create", "ls")


def env(words: list[str]) -> int:
    """Do `create NAME [requirements=FILE]` or `ls`."""
    if not words or "=" in words[0]:
        raise ValueError(f"harness env needs one of the words {', '.join(ACTIONS)} behind it")
    action = one_of(words[0], ACTIONS, what="harness env")
    names, asked = names_and_options(words[1:], {"requirements": ""} if action == "create" else {})
    if action == "ls":
        for name in environments.known():
            print(f"{name}  {environments.folder(name)}")
        return 0
    if len(names) != 1:
        raise ValueError(f"harness env create takes one name, not {len(names)}; known: {', '.join(environments.PINS)}")
    environments.create(names[0], _lines(asked["requirements"]))
    return 0


def _lines(file: str) -> tuple[str, ...]:
    """Return the requirements of a file, without comments; none for no file."""
    if not file:
        return ()
    path = Path(file).expanduser()
    if not path.is_file():
        raise ValueError(f"requirements={file}: no such file")
    lines = (line.partition("#")[0].strip() for line in path.read_text().splitlines())
    return tuple(line for line in lines if line)
