"""How recipes are written: `name`, `name(field=value)`, `name:file`, `name:file(field=value)`, several joined by `+`."""

from __future__ import annotations

import ast
import re
from pathlib import PurePath
from typing import Any

WITH_FILE = re.compile(r"(?P<name>\w+):(?P<file>[^()]+)(?P<fields>\(.*\))?")


def parts(recipe: str) -> list[str]:
    """Return the methods of a recipe in order, as they are written."""
    return recipe.split("+")


def call(text: str) -> tuple[str, str, dict[str, Any]]:
    """Return name, file (empty for none) and field values of one method; words and n:m patterns need no quotes.

    ValueError when it is not of that form.
    """
    name, file, fields = text.strip(), "", ""
    if found := WITH_FILE.fullmatch(name):
        name, file, fields = found["name"], found["file"].strip(), found["fields"] or ""
    try:
        tree = ast.parse(re.sub(r"=\s*(\d+:\d+)", r"='\1'", name + fields), mode="eval").body
        if isinstance(tree, ast.Name):
            return tree.id, file, {}
        if isinstance(tree, ast.Call) and isinstance(tree.func, ast.Name) and not tree.args:
            return tree.func.id, file, {str(word.arg): _value(word.value) for word in tree.keywords}
    except (SyntaxError, ValueError):
        pass
    raise ValueError(f"method {text!r} is not of the form name, name(field=value, ...) or name:file")


def label(recipe: str) -> str:
    """Return the recipe as tables show it: of a file its name, without folder and ending."""
    return "+".join(_short(part) for part in parts(recipe))


def _short(part: str) -> str:
    found = WITH_FILE.fullmatch(part.strip())
    return f"{found['name']}:{PurePath(found['file']).stem}{found['fields'] or ''}" if found else part


def _value(node: ast.expr) -> Any:
    return node.id if isinstance(node, ast.Name) else ast.literal_eval(node)
