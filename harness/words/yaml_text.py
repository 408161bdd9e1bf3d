"""YAML that people write: UTF-8, every key once; anything else is told with the file's name."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import yaml

from harness.words.home import home
from harness.words.nearest import nearest

ENDINGS = (".yaml", ".yml")


class WrittenTwice(yaml.YAMLError):
    """A mapping that holds a key twice: YAML's readers would take the last one and say nothing."""


class OnceLoader(yaml.SafeLoader):
    """Reads plain YAML and refuses a key that is written twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        counts = Counter(key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode) and key.value != "<<")
        if twice := [key for key, count in counts.items() if count > 1]:
            line = node.start_mark.line + 1
            raise WrittenTwice(f"{', '.join(twice)} is written twice in the mapping that begins in line {line}")
        return super().construct_mapping(node, deep)


def place(name: str, shipped: Path, what: str) -> Path:
    """Return the file that is shipped as `name`, or that `name` is the path of.

    ValueError, `what` it is called, where there is none.
    """
    own = name.endswith(ENDINGS)
    path = home(name) if own else shipped / f"{name}.yaml"
    if not path.is_file():
        available = names(shipped)
        raise ValueError(
            f"{what}={name}: no such file" if own else f"{what}={name} is unknown; {nearest(name, available)}"
        )
    return path


def names(shipped: Path) -> list[str]:
    """Return the names of the YAML files in a folder."""
    return sorted(path.stem for path in shipped.glob("*.yaml"))


def read(path: Path, what: str, loader: type[yaml.SafeLoader] = OnceLoader) -> Any:
    """Return what the file holds; ValueError in one line, beginning with `what` the file is."""
    try:
        return yaml.load(path.read_text(encoding="utf-8"), loader)
    except UnicodeDecodeError as error:
        raise ValueError(f"{what} {path}: no UTF-8 text ({error.reason} at byte {error.start})") from None
    except WrittenTwice as error:
        raise ValueError(f"{what} {path}: {error}") from None
    except yaml.YAMLError as error:
        raise ValueError(f"{what} {path}: no YAML: {' '.join(str(error).split())}") from None
