"""How the words of verbs are written: lists, counts, numbers, names.

Each with the message that a wrong one gets.
"""

from __future__ import annotations

import math
import re
from functools import partial
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, ValidationInfo

MOST = 1_000_000  # of anything that is counted: beyond that a word was meant otherwise
OPTION = re.compile(r"[a-z_.]+=")  # the name of a variant may hold a "=" too, behind a bracket


def listed(text: str) -> list[str]:
    """Return the names in `a`, `a,b` or `[a,b]`."""
    return [name for part in text.strip("[]").split(",") if (name := part.strip())]


def number(text: str, *, key: str) -> float:
    """Return the number that was written, infinity among them; ValueError when it is none."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if math.isnan(value):
        raise ValueError(f"{key} must be a number, not {text}")
    return value


def count(text: str, *, key: str, least: int = 1, most: int = MOST) -> int:
    """Return the whole number that was written; ValueError when it is none, or outside [least, most]."""
    if not (text.isascii() and text.isdecimal()) or len(text) > len(str(most)) or not least <= int(text) <= most:
        raise ValueError(f"{key} must be a whole number from {least} to {most:,}, not {text}")
    return int(text)


def _names(value: Any) -> Any:
    return tuple(listed(value)) if isinstance(value, str) else value


def _number(value: Any, info: ValidationInfo) -> Any:
    return number(value, key=str(info.field_name)) if isinstance(value, str) else value


def _count(value: Any, info: ValidationInfo, *, least: int, most: int) -> Any:
    return count(value, key=str(info.field_name), least=least, most=most) if isinstance(value, str) else value


def whole(least: int = 1, most: int = MOST) -> Any:
    """Return the type of a whole number from `least` to `most`."""
    return Annotated[int, BeforeValidator(partial(_count, least=least, most=most)), Field(ge=least, le=most)]


def _flag(value: Any, info: ValidationInfo) -> Any:
    if isinstance(value, str) and value not in ("true", "false"):
        raise ValueError(f"{info.field_name} {value} is unknown; known: false, true")
    return value == "true" if isinstance(value, str) else value


Flag = Annotated[bool, BeforeValidator(_flag)]
Names = Annotated[tuple[str, ...], BeforeValidator(_names)]
Number = Annotated[float, BeforeValidator(_number)]
Format = Literal["table", "markdown", "json"]
STORE = "harness-store"
STORE_MEANS = "folder of the stored steps and runs"
RUN_MEANS = "a run of the store by its id; the newest where empty"
FORMAT_MEANS = "how the result is printed"
