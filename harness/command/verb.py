"""A verb of the command line as a model.

Its fields are its words, from which parsing, errors, help and completion come.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from harness.command.fields import Word, choices, words_of
from harness.command.words import OPTION
from harness.words.nearest import nearest

DONE, FAILED, WRONG, INTERRUPTED = 0, 1, 2, 130
EXITS = {DONE: "done", FAILED: "a place cannot be read or written", WRONG: "wrong words", INTERRUPTED: "interrupted"}


class Verb(BaseModel):
    """What a user asks for. The docstring is the verb's help.

    Each field a word `key=value` with its description.

    A verb that takes names, words without "=", says in NAMES how they are written. One that takes keys of a run says which
    in `run_keys`; these words are kept as they are written, in `run_words`, for the run's own configuration to read.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    NAME: ClassVar[str]  # one word or two
    NAMES: ClassVar[str] = ""
    EXITS: ClassVar[dict[int, str]] = EXITS
    names: tuple[str, ...] = Field(default=(), exclude=True)
    run_words: tuple[str, ...] = Field(default=(), exclude=True)

    def __call__(self) -> int:
        """Do it and return the exit code."""
        raise NotImplementedError(f"{type(self).__name__} must implement __call__")

    @classmethod
    def summary(cls) -> str:
        """Return the first line of the help."""
        return (cls.__doc__ or "").strip().splitlines()[0]

    @classmethod
    def own_words(cls) -> list[Word]:
        """Return the words that the verb alone takes."""
        return words_of({name: info for name, info in cls.model_fields.items() if not info.exclude})

    @classmethod
    def run_keys(cls) -> list[Word]:
        """Return the words that it takes of those of a run."""
        return []

    @classmethod
    def misplaced(cls, key: str) -> str | None:
        """Return what to write instead of a key that is wrong for this verb alone; None for any other."""
        return None

    @classmethod
    def parse(cls, words: Sequence[str]) -> Self:
        """Return the verb with its words; ValueError with a line for each that is wrong."""
        own, of_run = [word.name for word in cls.own_words()], [word.name for word in cls.run_keys()]
        errors: list[str] = []
        given: dict[str, Any] = {}
        names, run_words = [], []
        for word in words:
            key, separator, value = word.partition("=")
            if cls.NAMES and not OPTION.match(word):
                names.append(word)
            elif advice := cls.misplaced(key):
                errors.append(f"{key}: {advice}")
            elif separator and key in own:
                given[key] = value
            elif separator and (key in of_run or (of_run and key.startswith("settings."))):
                run_words.append(word)
            else:
                all_words = [*own, *of_run]
                errors.append(
                    f"key {key} is unknown; {nearest(key, all_words) if all_words else 'this verb takes none'}"
                )
        try:
            verb = cls(**given, names=tuple(names), run_words=tuple(run_words))
        except ValidationError as error:
            raise ValueError("\n".join([*errors, *cls._lines(error)])) from None
        if errors:
            raise ValueError("\n".join(errors))
        return verb

    @classmethod
    def _lines(cls, error: ValidationError) -> list[str]:
        """Return a line for each word whose value is wrong, with the nearest of its choices."""
        lines = []
        for item in error.errors():
            key = str(item["loc"][0]) if item["loc"] else ""
            if item["type"] == "literal_error":
                options = choices(cls.model_fields[key].annotation)
                lines.append(f"{key} {item['input']} is unknown; {nearest(str(item['input']), options)}")
            elif item["type"] == "missing":
                lines.append(f"harness {cls.NAME} needs {key}=: {cls.model_fields[key].description}")
            else:
                message = item["msg"].removeprefix("Value error, ")
                lines.append(message if item["type"] == "value_error" else f"{key}: {message}, not {item['input']}")
        return lines
