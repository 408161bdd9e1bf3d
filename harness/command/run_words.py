"""Verbs that take the keys of a run.

`run` and `plan` all of them, those about searches what a search depends on.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Self

from harness.command.fields import Word, words_of, written
from harness.command.verb import EXITS, FAILED, Verb

STEPS_FAILED = {FAILED: "a step failed or was skipped"}


def run_words() -> list[Word]:
    """Return the words of a run, with the defaults of profile standard."""
    from harness import config

    composed = config.defaults()
    words = []
    for word in words_of(config.RunConfig.model_fields):
        default = composed.get(word.name, word.default)
        words.append(word._replace(default=written(default)))
    return words


class OfRun(Verb):
    """A verb whose words are those of a run, which checks them itself.

    Its configuration tells of all errors at once.
    """

    EXITS: ClassVar[dict[int, str]] = EXITS | STEPS_FAILED

    @classmethod
    def run_keys(cls) -> list[Word]:
        return run_words()

    @classmethod
    def parse(cls, words: Sequence[str]) -> Self:
        return cls(run_words=tuple(words))


class OfSome(Verb):
    """A verb that takes, beside its own words, the keys of a run that KEYS names."""

    KEYS: ClassVar[tuple[str, ...]]

    @classmethod
    def run_keys(cls) -> list[Word]:
        return [word for word in run_words() if word.name in cls.KEYS]


class OfSearch(OfSome):
    """A verb about searches: its own words, and those keys of a run that a search depends on."""

    KEYS: ClassVar[tuple[str, ...]] = (
        *("suite", "model", "data_dir", "store", "seed", "dtype", "device", "profile"),
        *("calibration.text", "calibration.samples", "calibration.length"),
    )
    EXITS: ClassVar[dict[int, str]] = EXITS | STEPS_FAILED
    SETTINGS: ClassVar[str] = "settings.nas."
    SET_HERE: ClassVar[dict[str, str]] = {  # field of nas -> word of the verb
        "searcher": "searchers",
        "search_seed": "seeds",
        "evaluations": "evaluations",
    }

    @classmethod
    def run_keys(cls) -> list[Word]:
        nas = Word(f"{cls.SETTINGS}FIELD", "as the field's", "", "a field of nas, as harness methods nas has them")
        return [*super().run_keys(), nas]

    @classmethod
    def misplaced(cls, key: str) -> str | None:
        field = key.removeprefix(cls.SETTINGS)
        if not key.startswith(cls.SETTINGS) or field not in cls.SET_HERE:
            return None
        word = cls.SET_HERE[field]
        return f"set {word}= instead" if word in cls.model_fields else f"harness search takes {word}="
