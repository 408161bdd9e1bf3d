"""Fields of pydantic models as users read them: how a value is written, its default, what it means.

Pure.
"""

from __future__ import annotations

import types
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

BOUNDS = {"ge": "from {}", "gt": "above {}", "le": "to {}", "lt": "below {}"}


class Word(NamedTuple):
    """A word `name=value`: how its value is written, its default, its meaning.

    The default is as written; None: it must be given.
    """

    name: str
    values: str
    default: str | None
    meaning: str
    choices: tuple[str, ...] = ()


def words_of(fields: Mapping[str, FieldInfo], prefix: str = "") -> list[Word]:
    """Return a model's fields in their order, those of a model within it behind `name.`."""
    words = []
    for name, info in fields.items():
        inner = info.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            words += words_of(inner.model_fields, f"{prefix}{name}.")
            continue
        missing = info.default is PydanticUndefined and info.default_factory is None
        default = None if missing else written(info.get_default(call_default_factory=True))
        options = tuple(choices(inner))
        words.append(Word(prefix + name, values(inner, info.metadata), default, info.description or "", options))
    return words


def written(value: Any) -> str:
    """Return a value as it is written behind `key=`."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (tuple, list)):
        return f"[{','.join(map(written, value))}]"
    if isinstance(value, dict):
        return "{" + ",".join(f"{name}: {written(inner)}" for name, inner in value.items()) + "}"
    return str(value)


def choices(kind: Any) -> list[str]:
    """Return what a Literal, a flag, or one of them or null, may be; nothing for other types."""
    if get_origin(kind) is Literal:
        return [str(value) for value in get_args(kind)]
    if kind is bool:
        return ["true", "false"]
    if get_origin(kind) in (Union, types.UnionType):
        return [choice for part in get_args(kind) if part is not type(None) for choice in choices(part)]
    return choices(get_args(kind)[0]) if get_origin(kind) is Annotated else []


def values(kind: Any, metadata: list[Any] | None = None) -> str:
    """Return how a value of a type is written.

    Its choices, or what kind of number or text within which bounds.
    """
    if get_origin(kind) is Annotated:
        inner, *more = get_args(kind)
        return values(inner, [*more, *(metadata or [])])
    if options := choices(kind):
        return " | ".join(options)
    if get_origin(kind) in (Union, types.UnionType):
        return " or ".join("null" if part is type(None) else values(part, metadata) for part in get_args(kind))
    if get_origin(kind) in (tuple, list):
        return f"[{values(get_args(kind)[0])}, ...]"
    if get_origin(kind) is dict or kind is dict:
        return "{name: value, ...}"
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return "mapping"
    names: dict[Any, str] = {int: "whole number", float: "number", str: "text", Path: "folder"}
    return " ".join([names.get(kind, getattr(kind, "__name__", str(kind))), *_bounds(metadata or [])])


def _bounds(metadata: list[Any]) -> list[str]:
    parts: list[Any] = []
    for each in metadata:
        parts += each.metadata if isinstance(each, FieldInfo) else [each]
    return [
        text.format(f"{getattr(each, name):,}")
        for each in parts
        for name, text in BOUNDS.items()
        if hasattr(each, name)
    ]
