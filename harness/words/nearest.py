"""Phrases that help someone who mistyped a name."""

from __future__ import annotations

import difflib
from collections.abc import Sequence


def nearest(name: str, known: list[str]) -> str:
    """Return a phrase naming the closest known choices, for error messages."""
    close = difflib.get_close_matches(name, known, n=2, cutoff=0.5)
    return f"did you mean {' or '.join(close)}?" if close else f"known: {', '.join(sorted(known))}"


def one_of(value: str, known: Sequence[str], *, what: str) -> str:
    """Return `value`; ValueError with the nearest choice when it is none of `known`."""
    if value not in known:
        raise ValueError(f"{what} {value} is unknown; {nearest(value, list(known))}")
    return value
