"""A method as a command: checkpoint in, checkpoint out.

A YAML file that anyone can write describes it.
"""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import Field, ValidationError, field_validator, model_validator

from harness.outside import environments
from harness.pruning.budget import TOLERANCE
from harness.spec import Spec
from harness.storage.store import sha256_file
from harness.words import yaml_text
from harness.words.home import home
from harness.words.misfits import misfits
from harness.words.nearest import nearest

WORD = re.compile(r"\{(\w+)\}")
WORDS = ("input", "output", "budget", "calibration", "seed", "device", "python")


class Command(Spec):
    """What runs, and what it promises.

    `command` may hold {input} and {output}, folders of checkpoints; {budget}, the share of the dense parameters that stays;
    {calibration}, a file of JSON lines with `input_ids` and `text`; {seed}; {device}; {python}, the interpreter of
    `environment` or our own. It runs in the folder of its YAML file. `files` are what decides the result beside the
    command itself: their content is part of the key, so that a changed script is run anew.
    """

    UNKEYED: ClassVar[frozenset[str]] = frozenset({"folder"})
    name: str = Field(min_length=1, description="what its rows are called; the file's name where it is not given")
    command: tuple[str, ...] = Field(
        min_length=1, description="program and arguments; {input} and {output} are the checkpoints' folders"
    )
    structured: bool = Field(
        True, description="it removes parameters; false: it writes zeros, and its rows are simulated"
    )
    tolerance: Annotated[
        float, Field(ge=0, le=1, description="how far the size may lie from the budget, as a share")
    ] = TOLERANCE
    environment: str | None = Field(None, description="environment that harness env create made, in which it runs")
    variables: dict[str, str] = Field(default_factory=dict, description="environment variables that it gets")
    families: tuple[str, ...] = Field(
        ("llama", "mistral", "qwen2", "qwen3"), description="decoder families that it takes; others are named here"
    )
    files: tuple[str, ...] = Field((), description="files that decide the result: a changed one is run anew")
    contents: dict[str, str] = Field(default_factory=dict)  # sha256 by file, and of the environment
    folder: str = "."

    @field_validator("command")
    @classmethod
    def _known_words(cls, command: tuple[str, ...]) -> tuple[str, ...]:
        written = [word for part in command for word in WORD.findall(part)]
        for word in written:
            if word not in WORDS:
                raise ValueError(f"{{{word}}} is unknown; {nearest(word, list(WORDS))}")
        for word in ("input", "output"):
            if word not in written:
                raise ValueError(f"the command never says {{{word}}}, so that no checkpoint comes in or out")
        return command

    @model_validator(mode="before")
    @classmethod
    def _contents_of_files(cls, fields: Any) -> Any:
        if not isinstance(fields, dict) or "contents" in fields:
            return fields
        place, digests = Path(fields.get("folder", ".")), {}
        for name in fields.get("files") or ():
            if not (place / str(name)).is_file():
                raise ValueError(f"files: {name} is not beside the YAML file")
            digests[str(name)] = sha256_file(place / str(name))
        if fields.get("environment"):
            digests["environment"] = environments.digest(str(fields["environment"]))
        return {**fields, "contents": digests}

    @model_validator(mode="after")
    def _program_exists(self) -> Command:
        program = self.command[0]
        if not WORD.search(program) and not shutil.which(program) and not (Path(self.folder) / program).is_file():
            raise ValueError(f"command: no program {program}")
        return self

    @property
    def interpreter(self) -> str:
        """What {python} stands for."""
        return str(environments.interpreter(self.environment)) if self.environment else sys.executable

    def takes(self, word: str) -> bool:
        """Tell whether the command says {word}."""
        return any(word in WORD.findall(part) for part in self.command)

    def filled(self, values: dict[str, str]) -> list[str]:
        """Return the command with its words replaced."""
        return [WORD.sub(lambda match: values[match[1]], part) for part in self.command]


def read(path: str) -> Command:
    """Return the command that a YAML file describes.

    ValueError, a line for each thing that is wrong with it.
    """
    file = home(path)
    if not file.is_file():
        raise ValueError(f"{path}: no such file")
    content = yaml_text.read(file, "command file")
    if not isinstance(content, dict):
        raise ValueError(f"{path}: a mapping with name and command is wanted")
    given = {key: value for key, value in content.items() if key not in ("contents", "folder")}
    try:
        return Command(**{"name": file.stem, **given, "folder": str(file.resolve().parent)})
    except ValidationError as error:
        lines = misfits(error, known=list(Command.model_fields), whole="command")
        raise ValueError("\n".join(f"{path}: {line}" for line in lines)) from None
