"""Recipe files of SparseML and its successor llm-compressor.

Found, read, and checked before hours are spent.
"""

from __future__ import annotations

import importlib.util
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from harness.words.home import home
from harness.words.misfits import misfits
from harness.words.nearest import nearest

INSTALL = "pip install 'llm-compression-harness[llmcompressor]'"


def shipped() -> dict[str, Path]:
    """Return the recipes that come with this project, by name."""
    place = Path(str(resources.files("baselines"))) / "recipes"
    return {path.stem: path for path in sorted(place.glob("*.yaml"))}


def read(name: str) -> str:
    """Return the text of a recipe file, or of a shipped recipe of that name.

    ValueError where there is neither.
    """
    path = home(name)
    if not path.is_file():
        path = shipped().get(name, path)
    if not path.is_file():
        raise ValueError(f"{name}: no such file, and no shipped recipe; {nearest(name, list(shipped()))}")
    text = path.read_text()
    if not modifiers(text):
        raise ValueError(
            f"{name}: no modifiers in it; they stand as SOME_stage: {{SOME_modifiers: {{NameModifier: {{field: value}}}}}}"
        )
    return text


def modifiers(text: str) -> list[tuple[str, dict[str, Any]]]:
    """Return name and fields of each modifier of a recipe, in order; ValueError where it is not YAML."""
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(f"the recipe is not YAML: {str(error).splitlines()[0]}") from None
    stages = _under(content, "_stage")
    groups = [group for stage in stages for group in _under(stage, "_modifiers")]
    return [(name, fields or {}) for group in groups if isinstance(group, dict) for name, fields in group.items()]


def _under(content: Any, ending: str) -> list[Any]:
    """Return what stands under the keys with that ending.

    llm-compressor passes over all others without a word.
    """
    return [value for key, value in content.items() if str(key).endswith(ending)] if isinstance(content, dict) else []


@cache
def check(text: str) -> None:
    """Raise ValueError naming every modifier that llm-compressor would not take.

    It leaves those out of what it does with a line in its log, and the model comes back unchanged.
    """
    if importlib.util.find_spec("llmcompressor") is None:
        raise ValueError(f"llm-compressor is not installed: {INSTALL}")
    from llmcompressor.modifiers import ModifierFactory

    ModifierFactory.refresh()
    known = {**ModifierFactory._main_registry, **ModifierFactory._experimental_registry}
    errors = []
    for name, fields in modifiers(text):
        if name not in known:
            errors.append(f"modifier {name} is unknown; {nearest(name, list(known))}")
            continue
        try:
            known[name](**fields)
        except ValidationError as error:
            errors += [f"{name}.{line}" for line in misfits(error, known=list(known[name].model_fields))]
        except (TypeError, ValueError) as error:
            errors.append(f"{name}: {str(error).splitlines()[0]}")
    if errors:
        raise ValueError("\n".join(errors))
