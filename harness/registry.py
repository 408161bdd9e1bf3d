"""Find every method and quantizer: the files of `baselines/` and `harness/quantizers/`, and third parties' entry points."""

from __future__ import annotations

import importlib
import importlib.metadata
import pkgutil
from functools import cache
from typing import Any, TypeVar

from pydantic import ValidationError
from pydantic.fields import FieldInfo

from harness import recipes
from harness.data.layout import nearest
from harness.spec import Method, Quantizer

T = TypeVar("T", Method, Quantizer)
METHODS_GROUP = "harness.methods"
QUANTIZERS_GROUP = "harness.quantizers"


@cache
def methods() -> dict[str, type[Method]]:
    """Return all methods by name."""
    return _found("baselines", METHODS_GROUP, Method)


@cache
def quantizers() -> dict[str, type[Quantizer]]:
    """Return all quantizers by name."""
    return _found("harness.quantizers", QUANTIZERS_GROUP, Quantizer)


def _found(package: str, group: str, kind: type[T]) -> dict[str, type[T]]:
    place = importlib.import_module(package)
    modules = [importlib.import_module(f"{package}.{info.name}") for info in pkgutil.iter_modules(place.__path__)]
    classes = [
        value
        for module in modules
        for value in vars(module).values()
        if _is(value, kind) and value.__module__ == module.__name__
    ]
    classes += [entry.load() for entry in importlib.metadata.entry_points(group=group)]
    found: dict[str, type[T]] = {}
    for item in classes:
        if found.setdefault(item.NAME, item) is not item:
            raise ValueError(f"two classes are called {item.NAME}: {found[item.NAME].__module__} and {item.__module__}")
    return found


def _is(value: Any, kind: type) -> bool:
    return isinstance(value, type) and issubclass(value, kind) and "NAME" in vars(value)


def parse(text: str, settings: dict[str, dict[str, Any]]) -> tuple[type[Method], dict[str, Any]]:
    """Return class and fields of a method as `recipes` says it is written, the profile's settings below the written ones."""
    name, file, written = recipes.call(text)
    if name not in methods():
        raise ValueError(f"method {name} is unknown; {nearest(name, list(methods()))}")
    kind = methods()[name]
    if bool(file or written.get(kind.FILE)) != bool(kind.FILE):
        taken = "takes no file" if file else f"needs a file: {name}:{kind.FILE}.yaml"
        raise ValueError(f"method {text}: {name} {taken}")
    written |= {kind.FILE: file} if file else {}
    for field in written:
        if field not in fields(kind):
            raise ValueError(f"method {name} has no field {field}; {nearest(field, list(fields(kind)))}")
    defaults = {key: value for key, value in settings.get(name, {}).items() if key in kind.model_fields}
    return kind, {**defaults, **written}


def fields(kind: type[Method]) -> dict[str, FieldInfo]:
    """Return the fields that a user may write, by name; those that a method fills itself (`repr=False`) are not among them."""
    return {name: info for name, info in kind.model_fields.items() if info.repr}


def build(kind: type[Method], given: dict[str, Any]) -> Method:
    """Return the validated method; ValueError in one line per wrong field."""
    try:
        return kind(**given)
    except ValidationError as error:
        lines = [
            f"method {kind.NAME}: {'.'.join(map(str, item['loc'])) or 'fields'}: {item['msg'].removeprefix('Value error, ')}"
            for item in error.errors()
        ]
        raise ValueError("\n".join(lines)) from None


def quantizer(name: str) -> Quantizer | None:
    """Return the quantizer of that name; None for "none"."""
    if name == "none":
        return None
    if name not in quantizers():
        raise ValueError(f"quantizer {name} is unknown; {nearest(name, ['none', *quantizers()])}")
    return quantizers()[name]()
