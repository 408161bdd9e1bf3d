"""Why something failed, in one line that says what to do or holds the whole chain of causes."""

from __future__ import annotations

import errno
import traceback
from collections.abc import Iterator
from pathlib import Path

LONGEST = 600  # letters: the log has the rest
MEMORY = ("out of memory", "can't allocate memory", "cannot allocate memory")
FULL = "no space left on device"


def reason(error: BaseException) -> str:
    """Return what ended a step as one printable line.

    A user's error in its own words, others with what caused them.
    """
    links = list(chain(error))
    said = "; because ".join(dict.fromkeys(map(_said, links)))
    if any(isinstance(link, MemoryError) or _speaks_of(link, MEMORY) for link in links):
        said = f"out of memory: {said}"
    if any(_is_full(link) for link in links):
        said = f"the disk is full: {said}; free some of it, or choose another with store=FOLDER"
    return said if len(said) <= LONGEST else f"{said[:LONGEST]} ... (the log has the rest)"


def chain(error: BaseException) -> Iterator[BaseException]:
    """Yield the error and what it came from, the last to be raised first."""
    seen: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        yield link
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)


def one_line(text: object) -> str:
    """Return the text without line breaks, control characters, lone surrogates and repeated blanks."""
    whole = str(text).encode("utf-8", "backslashreplace").decode()
    return " ".join("".join(letter if letter.isprintable() else " " for letter in whole).split())


def _said(error: BaseException) -> str:
    text, name = one_line(error), type(error).__name__
    if isinstance(error, ValueError) and text and not isinstance(error, UnicodeError):
        return text
    return f"{name}: {text or 'without a word'}{_where(error) if _says_little(error, text) else ''}"


def _says_little(error: BaseException, text: str) -> bool:
    """Tell whether the message alone would help nobody: none, a bare key or number."""
    return isinstance(error, KeyError) or len(text.split()) < 2


def _where(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    return f" (in {frames[-1].name}, {Path(frames[-1].filename).name} line {frames[-1].lineno})" if frames else ""


def _speaks_of(error: BaseException, words: tuple[str, ...]) -> bool:
    return any(word in str(error).lower() for word in words)


def _is_full(error: BaseException) -> bool:
    number = getattr(error, "errno", None)
    return number in (errno.ENOSPC, errno.EDQUOT) or _speaks_of(error, (FULL,))
