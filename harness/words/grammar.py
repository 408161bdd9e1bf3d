"""How values are written behind `key=`: text as it is, numbers, lists in brackets, mappings in braces.

Quotes keep what they hold.
"""

from __future__ import annotations

import re
from typing import Any

OPENING, CLOSING, QUOTES = "([{", ")]}", "\"'"
NUMBER = re.compile(r"[+-]?(\d[\d_]*\.?\d*|\.\d+)([eE][+-]?\d+)?")


def text(written: str) -> str | None:
    """Return text as it is written, without the quotes around all of it; None for null."""
    said = written.strip()
    return None if said == "null" else unquoted(said)


def scalar(written: str) -> Any:
    """Return null, true, false, a number or text; quotes make text of anything."""
    said = written.strip()
    if said.lower() in ("true", "false"):
        return said.lower() == "true"
    if NUMBER.fullmatch(said):
        whole = said.lstrip("+-").replace("_", "").isdecimal()
        return int(said) if whole else float(said)
    if said.lower().lstrip("+-") in ("nan", "inf"):
        return float(said)
    return text(said)


def texts(written: str) -> list[str | None]:
    """Return the items of `[a,b]`, or of `a` alone, as text.

    ValueError where brackets or quotes do not close.
    """
    return [text(item) for item in _items(written)]


def scalars(written: str) -> list[Any]:
    """Return the items of `[1,2]`, or of `1` alone; ValueError where brackets or quotes do not close."""
    return [scalar(item) for item in _items(written)]


def value(written: str) -> Any:
    """Return a list, a mapping or a scalar, whatever the text looks like.

    ValueError where brackets do not close.
    """
    said = written.strip()
    if said[:1] == "[" and said[-1:] == "]":
        return [value(item) for item in split(said[1:-1])]
    if said[:1] == "{" and said[-1:] == "}":
        pairs = [item.partition(":") for item in split(said[1:-1])]
        if not all(colon for _, colon, _ in pairs):
            raise ValueError(f"{said} is no mapping: write {{key: value, key: value}}")
        return {unquoted(key.strip()): value(rest) for key, _, rest in pairs}
    split(said)
    return scalar(said)


def _items(written: str) -> list[str]:
    said = written.strip()
    if said[:1] != "[":
        return split(said)
    if said[-1:] != "]":
        raise ValueError(f"{said} has a bracket or quote that is not closed")
    return split(said[1:-1])


def split(said: str, at: str = ",") -> list[str]:
    """Return the parts between separators that no bracket or quote holds; none of blank text.

    ValueError where those do not close.
    """
    parts, start, open_brackets, quote = [], 0, [], ""
    for place, letter in enumerate(said):
        if quote:
            quote = "" if letter == quote else quote
        elif letter in QUOTES and (place == 0 or not said[place - 1].isalnum()):  # an apostrophe within a word is none
            quote = letter
        elif letter in OPENING:
            open_brackets.append(letter)
        elif letter in CLOSING and open_brackets and OPENING.index(open_brackets[-1]) == CLOSING.index(letter):
            open_brackets.pop()
        elif letter == at and not open_brackets:
            parts.append(said[start:place])
            start = place + 1
    if quote or open_brackets:
        raise ValueError(f"{said} has a bracket or quote that is not closed")
    parts.append(said[start:])
    return [part.strip() for part in parts] if len(parts) > 1 or said.strip() else []


def unquoted(said: str) -> str:
    """Return the text inside quotes that hold all of it; a backslash keeps the letter behind it."""
    if len(said) < 2 or said[0] not in QUOTES or said[-1] != said[0] or said[0] in re.sub(r"\\.", "", said[1:-1]):
        return said
    return re.sub(r"\\(.)", r"\1", said[1:-1])
