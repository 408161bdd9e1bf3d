"""`harness env`: make an environment of its own for a tool that cannot live beside ours, or list them."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from harness.command.verb import DONE, Verb
from harness.words.home import home


class EnvCreate(Verb):
    """Make an environment of its own for a tool that cannot live beside ours, or for your own command.

    An example of such a tool is sparseml.
    """

    NAME: ClassVar[str] = "env create"
    NAMES: ClassVar[str] = "NAME"
    requirements: str = Field("", description="file of requirements; none for the tools that we know")

    def __call__(self) -> int:
        from harness.outside import environments

        if len(self.names) != 1:
            raise ValueError(
                f"harness env create takes one name, not {len(self.names)}; known: {', '.join(environments.PINS)}"
            )
        environments.create(self.names[0], _lines(self.requirements))
        return DONE


class EnvLs(Verb):
    """List the environments that are there."""

    NAME: ClassVar[str] = "env ls"

    def __call__(self) -> int:
        from harness.outside import environments

        for name in environments.known():
            print(f"{name}  {environments.folder(name)}")
        return DONE


def _lines(file: str) -> tuple[str, ...]:
    """Return the requirements of a file, without comments; none for no file."""
    if not file:
        return ()
    path = home(file)
    if not path.is_file():
        raise ValueError(f"requirements={file}: no such file")
    lines = (line.partition("#")[0].strip() for line in path.read_text().splitlines())
    return tuple(line for line in lines if line)
