"""Words of a verb: key=value options and names, and what was probably meant by a wrong one."""

from __future__ import annotations

import re
from collections.abc import Sequence

from harness.data.layout import nearest

OPTION = re.compile(r"[a-z_.]+=")  # the name of a variant may hold a "=" too, behind a bracket


def options(words: Sequence[str], known: dict[str, str]) -> dict[str, str]:
    """Return key=value words over their defaults; ValueError naming all unknown ones."""
    errors, found = [], dict(known)
    for word in words:
        key, separator, value = word.partition("=")
        if not separator or key not in known:
            errors.append(f"key {key} is unknown; {nearest(key, list(known))}")
        else:
            found[key] = value
    if errors:
        raise ValueError("\n".join(errors))
    return found


def names_and_options(words: Sequence[str], known: dict[str, str]) -> tuple[list[str], dict[str, str]]:
    """Return the words that are no key=value, in order, and the options."""
    written = [word for word in words if OPTION.match(word)]
    return [word for word in words if not OPTION.match(word)], options(written, known)


def listed(text: str) -> list[str]:
    """Return the names in `a`, `a,b` or `[a,b]`."""
    return [name for part in text.strip("[]").split(",") if (name := part.strip())]


def one_of(value: str, known: Sequence[str], *, what: str) -> str:
    """Return `value`; ValueError with the nearest choice when it is none of `known`."""
    if value not in known:
        raise ValueError(f"{what} {value} is unknown; {nearest(value, list(known))}")
    return value


def number(text: str, *, key: str) -> float:
    """Return the number that was written; ValueError when it is none."""
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"{key} must be a number, not {text}") from None


def count(text: str, *, key: str) -> int:
    """Return the whole number above 0 that was written; ValueError when it is none."""
    if not text.isdecimal() or int(text) < 1:
        raise ValueError(f"{key} must be a whole number above 0, not {text}")
    return int(text)
