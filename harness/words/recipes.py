"""How recipes are written: `name`, `name(field=value)`, `name:file`, `name:file(field=value)`.

Several are joined by `+`.
"""

from __future__ import annotations

import ast
import keyword
import re
from pathlib import PurePath
from typing import Any, NamedTuple

from harness.words import grammar

# what follows a colon is a file, to the end or to fields in brackets; a path may hold brackets and plus signs itself
WITH_FILE = re.compile(r"(?P<name>\w+):(?P<file>.+?)(?P<fields>\(\s*(?:\w+\s*=.*)?\))?", re.DOTALL)
# a class in a Python file: ./my_method.py:MyMethod
OWN = re.compile(r"(?P<file>.+\.py):(?P<name>[A-Za-z_]\w*)(?P<fields>\(.*\))?", re.DOTALL)
# a plus with a method's name or a class of a file behind it
NEXT = re.compile(r"\+(?=\s*(?:[A-Za-z_]\w*\s*(?:[(:+]|$)|[^+]*\.py:[A-Za-z_]))")


# what Python would not read as a word: n:m patterns, and words of its own such as global
RESERVED = re.compile(r"(?<==)(\s*)(\d+:\d+|[a-z]+)(?=\s*[,)\]])")
CONSTANTS = {"true": True, "false": False, "null": None}  # as everywhere else in words


class Call(NamedTuple):
    """One method as it is written.

    Its name (of a class, where `own`), the file behind or before a colon, its fields.
    """

    name: str
    file: str
    fields: dict[str, Any]
    own: bool = False


def parts(recipe: str) -> list[str]:
    """Return the methods of a recipe in order, as they are written."""
    pieces, start = [], 0
    for plus in NEXT.finditer(recipe):
        if _closed(recipe[start : plus.start()]):
            pieces.append(recipe[start : plus.start()])
            start = plus.end()
    return [*pieces, recipe[start:]]


def _closed(text: str) -> bool:
    try:
        grammar.split(text)
    except ValueError:
        return False
    return True


def call(text: str) -> Call:
    """Return one method's name, file and field values; words and n:m patterns need no quotes.

    ValueError when it is not of that form.
    """
    name, file, fields, own = text.strip(), "", "", False
    if match := OWN.fullmatch(name) or WITH_FILE.fullmatch(name):
        own = match.re is OWN
        name, file, fields = match["name"], grammar.unquoted(match["file"].strip()), match["fields"] or ""
    try:
        tree = ast.parse(RESERVED.sub(_quoted, name + fields), mode="eval").body
        if isinstance(tree, ast.Name):
            return Call(tree.id, file, {}, own)
        if isinstance(tree, ast.Call) and isinstance(tree.func, ast.Name) and not tree.args:
            _once([str(word.arg) for word in tree.keywords], text)
            return Call(tree.func.id, file, {str(word.arg): _value(word.value) for word in tree.keywords}, own)
    except WrittenTwice:
        raise
    except (SyntaxError, ValueError, RecursionError, MemoryError):  # the last two: thousands of brackets
        pass
    raise ValueError(
        f"method {text!r} is not of the form name, name(field=value, ...), name:file or ./my_method.py:MyMethod"
    )


def _quoted(match: re.Match[str]) -> str:
    return f"{match[1]}{match[2]!r}" if ":" in match[2] or keyword.iskeyword(match[2]) else match[0]


class WrittenTwice(ValueError):
    """A field that a method is given two values for."""


def _once(names: list[str], text: str) -> None:
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise WrittenTwice(f"method {text!r}: {', '.join(twice)} is written twice")


def label(recipe: str) -> str:
    """Return the recipe as tables show it: of a file its name, without folder and ending."""
    return "+".join(_short(part) for part in parts(recipe))


def _short(part: str) -> str:
    if own := OWN.fullmatch(part.strip()):
        return f"{own['name']}{own['fields'] or ''}"
    match = WITH_FILE.fullmatch(part.strip())
    if not match:
        return part
    return f"{match['name']}:{PurePath(grammar.unquoted(match['file'].strip())).stem}{match['fields'] or ''}"


def _value(node: ast.expr) -> Any:
    """Return a number, a text, or a list or mapping of them; words need no quotes at any depth."""
    if isinstance(node, ast.Name):
        return CONSTANTS.get(node.id, node.id)
    if isinstance(node, ast.List | ast.Tuple):
        items = [_value(item) for item in node.elts]
        return items if isinstance(node, ast.List) else tuple(items)
    if isinstance(node, ast.Dict):
        return {_key(key): _value(item) for key, item in zip(node.keys, node.values, strict=True)}
    return ast.literal_eval(node)


def _key(node: ast.expr | None) -> str:
    name = node.id if isinstance(node, ast.Name) else ast.literal_eval(node) if node else None
    if not isinstance(name, str):
        raise ValueError("the keys of a mapping are names")
    return name
