"""Digests of Python source, for the keys of own methods and for the code of stored results.

They tell what of a method's own code enters its key, and of which code a stored result is.

A module's `meaning` is a hash of its syntax tree without docstrings, what fields are said to mean, and the places of what it imports from
us: comments, layout, prose, and a file of ours that moves to another room change nothing. A module's `raw` hash is of its bytes: equal
bytes need no parsing.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import inspect
import sys
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

OURS = ("harness", "baselines", "suites", "reports")
SHORT = 12  # hex digits of a module's hash
DEPLOYMENT = (
    "STANDARD_LAYERS",
    "RUNTIMES",
    "bits",
)  # what a class says of itself for runtimes: no result depends on it


class Stamp(NamedTuple):
    """Two hashes of one module."""

    raw: str
    meaning: str


def of_kind(kind: type) -> str:
    """Return the digest of the code that defines a class.

    Of its own module, and of its whole package where that is not ours.

    ValueError where no source is to be had: a result must not outlive the code that made it unnoticed.
    """
    module = kind.__module__
    package = module.partition(".")[0]
    if package in OURS:
        return _meaning(_file(module, kind))
    place = _file(package, kind) if package in sys.modules else _file(module, kind)
    packaged = place.name == "__init__.py"
    own = _file(module, kind)
    files = sorted(place.parent.rglob("*.py")) if packaged else beside(own)
    names = {
        path: str(path.relative_to(place.parent)) for path in files if packaged or path != own
    }  # its own may change
    parts = [f"{names.get(path, '')}:{_meaning(path)}" for path in files]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:SHORT]


def beside(file: Path) -> list[Path]:
    """Return a file and those in its folder that it imports, directly or not.

    A method may be spread over a few.
    """
    paths: dict[Path, None] = {}
    waiting = [file]
    while waiting:
        path = waiting.pop()
        if path in paths:
            continue
        paths[path] = None
        try:
            tree = ast.parse(path.read_bytes())
        except (SyntaxError, ValueError):
            continue  # whoever imports it is told
        names = {name.partition(".")[0] for name in _imported(tree)}
        waiting += [near for name in sorted(names) if (near := path.with_name(f"{name}.py")).is_file()]
    return sorted(paths)


def _file(module: str, kind: type) -> Path:
    loaded = sys.modules.get(module)
    path = inspect.getsourcefile(loaded) if loaded is not None and getattr(loaded, "__file__", None) else None
    if not path or not Path(path).is_file():
        raise ValueError(
            f"{kind.__qualname__} is defined where no source file is ({module}), so that results could not be told from "
            "those of an edited version; put it into a .py file"
        )
    return Path(path)


def _meaning(path: Path) -> str:
    return _meaning_at(path, path.stat().st_mtime_ns)


@cache
def _meaning_at(path: Path, changed: int) -> str:
    return meaning(path.read_bytes())


def meaning(source: bytes) -> str:
    """Return the hash of what Python source says, without docstrings, comments, layout.

    Of its bytes where it does not parse.
    """
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return raw(source)
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list) and body and _is_text(body[0]):
            del body[0]
        if isinstance(node, ast.ClassDef):
            node.body = [each for each in node.body if not _decides_nothing(each)]
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] in OURS:
            node.module = OURS[0]  # which of our files holds what is imported decides nothing: it may move
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Field":
            node.keywords = [word for word in node.keywords if word.arg != "description"]  # prose, as a docstring is
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest()[:SHORT]


def _decides_nothing(statement: ast.stmt) -> bool:
    """Tell whether a statement of a class says only where its results can be deployed.

    Or how large they are there.
    """
    if isinstance(statement, ast.FunctionDef):
        return statement.name in DEPLOYMENT
    target = statement.targets[0] if isinstance(statement, ast.Assign) else getattr(statement, "target", None)
    return isinstance(target, ast.Name) and target.id in DEPLOYMENT


def _is_text(statement: ast.AST) -> bool:
    return (
        isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Constant)
        and isinstance(statement.value.value, str)
    )


def raw(source: bytes) -> str:
    """Return the hash of a file's bytes."""
    return hashlib.sha256(source).hexdigest()[:SHORT]


def stamps(modules: Iterable[str]) -> dict[str, Stamp]:
    """Return the hashes of our modules that `modules` import, directly or not.

    Those of `modules` that are ours are among them.
    """
    by_module: dict[str, Stamp] = {}
    waiting = []
    for module in modules:
        file = getattr(sys.modules.get(module), "__file__", None)
        if module.partition(".")[0] in OURS:
            waiting.append(module)
        elif file and file.endswith(".py"):  # of a third party: what of ours it is built on
            waiting += _imports(Path(file), Path(file).stat().st_mtime_ns, module)
    while waiting:
        module = waiting.pop()
        if module in by_module or (path := _place(module)) is None:
            continue
        by_module[module] = _stamp(path, path.stat().st_mtime_ns)
        waiting += _imports(path, path.stat().st_mtime_ns, module)
    return dict(sorted(by_module.items()))


def changed(stored: dict[str, list[str]]) -> list[str]:
    """Return the modules of a stored result that differ, or are gone, in what is installed.

    `stored` maps a module's name to its two hashes.
    """
    return [module for module, (before, meant) in stored.items() if not _same(module, before, meant)]


def _same(module: str, before: str, meant: str) -> bool:
    path = _place(module)
    if path is None:
        return False
    when = path.stat().st_mtime_ns
    return _raw_at(path, when) == before or _meaning_at(path, when) == meant


@cache
def _raw_at(path: Path, changed: int) -> str:
    return raw(path.read_bytes())


@cache
def _stamp(path: Path, changed: int) -> Stamp:
    return Stamp(_raw_at(path, changed), _meaning_at(path, changed))


@cache
def _place(module: str) -> Path | None:
    """Return the file of one of our modules; None for none. A package is its __init__.py."""
    top, _, rest = module.partition(".")
    spec = importlib.util.find_spec(top)
    if spec is None or spec.origin is None:
        return None
    base = Path(spec.origin).parent.joinpath(*rest.split(".")) if rest else Path(spec.origin).parent
    if (file := base.with_suffix(".py")).is_file() and rest:
        return file
    return base / "__init__.py" if (base / "__init__.py").is_file() else None


@cache
def _imports(path: Path, changed: int, module: str) -> tuple[str, ...]:
    """Return the names of ours that a module imports anywhere but for type checking.

    Where it imports by name, all beside it.
    """
    tree = ast.parse(path.read_bytes())
    names = dict.fromkeys(_imported(tree))
    if "import_module" in {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}:
        beside = module if path.name == "__init__.py" else module.rpartition(".")[0]
        names |= dict.fromkeys(f"{beside}.{each.stem}" for each in sorted(path.parent.glob("*.py")))
    return tuple(name for name in names if name.partition(".")[0] in OURS)


def _imported(node: ast.AST) -> Iterator[str]:
    """Yield every module that is imported below a node.

    Of `from a import b` both `a` and `a.b`, which may be a module.
    """
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test):
            continue
        if isinstance(child, ast.Import):
            yield from (name.name for name in child.names)
        elif isinstance(child, ast.ImportFrom) and child.module:
            yield child.module
            yield from (f"{child.module}.{name.name}" for name in child.names)
        yield from _imported(child)
