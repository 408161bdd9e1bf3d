"""Find every method and quantizer.

The files of `baselines/` and `harness/quantizers/`, and third parties' entry points.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import pkgutil
import sys
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from pydantic import ValidationError
from pydantic.fields import FieldInfo

from harness.spec import Method, Quantizer
from harness.words import recipes
from harness.words.home import home
from harness.words.misfits import misfits
from harness.words.nearest import nearest
from harness.words.reasons import reason

T = TypeVar("T")


@cache
def methods() -> dict[str, type[Method]]:
    """Return all methods by name."""
    return named("baselines", "harness.methods", Method)


@cache
def quantizers() -> dict[str, type[Quantizer]]:
    """Return all quantizers by name."""
    return named("harness.quantizers", "harness.quantizers", Quantizer)


def named(package: str, group: str, kind: type[T]) -> dict[str, type[T]]:
    """Return by NAME the classes of a kind in the files of a package and the entry points of a group.

    ValueError where two have one NAME.
    """
    place = importlib.import_module(package)
    modules = [importlib.import_module(f"{package}.{info.name}") for info in pkgutil.iter_modules(place.__path__)]
    classes: list[Any] = [
        value
        for module in modules
        for value in vars(module).values()
        if _is(value, kind) and value.__module__ == module.__name__
    ]
    classes += [entry.load() for entry in importlib.metadata.entry_points(group=group)]
    by_name: dict[str, Any] = {}
    for item in classes:
        name = item.NAME
        if by_name.setdefault(name, item) is not item:
            raise ValueError(f"two classes are called {name}: {by_name[name].__module__} and {item.__module__}")
    return by_name


def _is(value: Any, kind: type) -> bool:
    return isinstance(value, type) and issubclass(value, kind) and "NAME" in vars(value)


def parse(text: str, settings: dict[str, dict[str, Any]]) -> tuple[type[Method], dict[str, Any]]:
    """Return class and fields of a method that is written as `recipes` says.

    The profile's settings count only for fields that are not written.
    """
    name, file, written, own = recipes.call(text)
    if own:
        kind, file = own_method(file, name), ""
    elif name not in methods():
        raise ValueError(f"method {name} is unknown; {nearest(name, list(methods()))}")
    else:
        kind = methods()[name]
    if bool(file or written.get(kind.FILE)) != bool(kind.FILE):
        taken = "takes no file" if file else f"needs a file: {name}:{kind.FILE}.yaml"
        raise ValueError(f"method {text}: {name} {taken}")
    written |= {kind.FILE: file} if file else {}
    for field in written:
        if field not in fields(kind):
            raise ValueError(f"method {name} has no field {field}; {nearest(field, list(fields(kind)))}")
    defaults = {key: value for key, value in settings.get(kind.NAME, {}).items() if key in kind.model_fields}
    return kind, {**defaults, **written}


def own_method(file: str, name: str) -> type[Method]:
    """Return the method class `name` of a Python file of the user's.

    ValueError says what is wrong with either.
    """
    path = home(file).resolve()
    module = _loaded(path)
    classes = {key: value for key, value in vars(module).items() if _is(value, Method)}
    if name not in classes:
        raise ValueError(
            f"{file} defines no method called {name}; {nearest(name, list(classes))}"
            if classes
            else f"{file} defines no method: a class that inherits harness.spec.Method and has a NAME"
        )
    kind: type[Method] = classes[name]
    other = methods().get(kind.NAME)
    if other is not None and other is not kind:
        raise ValueError(f"{file}: {name} has the NAME {kind.NAME} of a method that is there already; give it another")
    return kind


@cache
def _loaded(path: Path) -> ModuleType:
    """Return the module in a file, imported by its stem.

    The processes that run steps find it on the same search path.
    """
    stem = path.stem
    if not path.is_file():
        raise ValueError(f"{path}: no such file")
    if not stem.isidentifier():
        raise ValueError(f"{path}: rename it, so that {stem} can be imported: letters, digits and underscores")
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))  # behind everything else, so that it hides nothing
        importlib.invalidate_caches()
    spec = importlib.util.find_spec(stem)
    if spec is None or spec.origin is None or Path(spec.origin).resolve() != path:
        raise ValueError(f"{path}: rename it, another module is called {stem} too ({spec and spec.origin})")
    try:
        return importlib.import_module(stem)
    except Exception as error:  # whatever the user's file does when it is imported
        raise ValueError(f"{path} cannot be imported: {reason(error)}") from None


def fields(kind: type[Method]) -> dict[str, FieldInfo]:
    """Return the fields that a user may write, by name.

    Those that a method fills itself (`repr=False`) are not among them.
    """
    return {name: info for name, info in kind.model_fields.items() if info.repr}


def build(kind: type[Method], given: dict[str, Any]) -> Method:
    """Return the validated method; ValueError in one line per wrong field."""
    numbers = [name for name, info in kind.model_fields.items() if info.annotation in (int, float)]
    if truths := [name for name in numbers if isinstance(given.get(name), bool)]:
        raise ValueError("\n".join(f"method {kind.NAME}: {name} is a number, not {given[name]}" for name in truths))
    try:
        return kind(**given)
    except ValidationError as error:
        lines = [f"method {kind.NAME}: {line}" for line in misfits(error, known=list(fields(kind)), whole="fields")]
        raise ValueError("\n".join(lines)) from None


def quantizer(name: str) -> Quantizer | None:
    """Return the quantizer of that name; None for "none"."""
    if name == "none":
        return None
    if name not in quantizers():
        raise ValueError(f"quantizer {name} is unknown; {nearest(name, ['none', *quantizers()])}")
    return quantizers()[name]()
