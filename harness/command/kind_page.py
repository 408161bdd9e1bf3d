"""What `harness methods NAME` prints of a method, a quantizer or a searcher.

Its meaning, its fields, where it comes from.
"""

from __future__ import annotations

import inspect

from harness import config, registry
from harness.command.fields import Word, words_of
from harness.command.fields import written as as_written
from harness.command.help import entries
from harness.nas.searchers.all_searchers import searchers
from harness.nas.searchers.base import Searcher
from harness.spec import Method, Quantizer
from harness.words.nearest import nearest


def kind_page(name: str) -> str:
    """Return the pages of all that has that name, method, quantizer or searcher.

    ValueError names the nearest.
    """
    pages = [method_page(registry.methods()[name])] if name in registry.methods() else []
    pages += [quantizer_page(registry.quantizers()[name])] if name in registry.quantizers() else []
    pages += [searcher_page(searchers()[name])] if name in searchers() else []
    if not pages:
        names = [*registry.methods(), *registry.quantizers(), *searchers()]
        raise ValueError(f"{name} is no method, no quantizer and no searcher; {nearest(name, names)}")
    return "\n\n".join(pages)


def method_page(kind: type[Method]) -> str:
    """Return how a method is written, what it does, its fields and what it needs."""
    words = method_words(kind)
    lines = [f"method {kind.NAME}: methods=[{written(kind)}]", "", inspect.cleandoc(kind.__doc__ or ""), ""]
    return "\n".join([*lines, *entries(words), *([""] if words else []), facts(kind)])


def quantizer_page(kind: type[Quantizer]) -> str:
    """Return how a quantizer is written, what it does and its fields."""
    words = words_of(kind.model_fields)
    where = f"in runtimes {', '.join(sorted(kind.RUNTIMES))}"
    lines = [f"quantizer {kind.NAME}: quantizers=[none,{kind.NAME}], {where}", "", inspect.cleandoc(kind.__doc__ or "")]
    return "\n".join([*lines, *([""] if words else []), *entries(words)])


def searcher_page(kind: type[Searcher]) -> str:
    """Return how a searcher of nas is written, what it does, its fields and its source."""
    words = words_of(kind.model_fields)
    usage = f"searcher {kind.NAME}: methods=['nas(searcher={kind.NAME})'], its fields as options={{field: value}}"
    source = ["", f"source {kind.SOURCE}"] if kind.SOURCE else []
    lines = [usage, "", inspect.cleandoc(kind.__doc__ or "")]
    return "\n".join([*lines, *([""] if words else []), *entries(words), *source])


def method_words(kind: type[Method]) -> list[Word]:
    """Return the fields that a user may write.

    Each with what profiles set it to where that is not its default alone.
    """
    return [_under_profiles(word, kind.NAME) for word in words_of(registry.fields(kind))]


def _under_profiles(word: Word, method: str) -> Word:
    settings = {profile: config.defaults(profile)["settings"].get(method, {}) for profile in config.PROFILES}
    chosen = [
        f"{profile} {as_written(fields[word.name])}" for profile, fields in settings.items() if word.name in fields
    ]
    return word._replace(meaning=f"{word.meaning} (profiles: {', '.join(chosen)})") if chosen else word


def written(kind: type[Method]) -> str:
    """Return a method as it is written in `methods=`."""
    return f"'{kind.NAME}:FILE.yaml'" if kind.FILE else kind.NAME


def removes(kind: type[Method]) -> str:
    """Return what a method takes out of a model."""
    if kind.FILE:
        return "as its file says"
    if not kind.STRUCTURED:
        return "zeros"
    return "parameters" if "budget" in kind.model_fields else "nothing"


def facts(kind: type[Method]) -> str:
    """Return one line: what it removes, what it needs, whether it may follow another method, its source."""
    needs = ", ".join(sorted(kind.NEEDS)) or "nothing"
    place = "may follow another method" if kind.FOLLOWS else "starts from the dense model"
    return "; ".join(
        [f"removes {removes(kind)}", f"needs {needs}", place, *([f"source {kind.SOURCE}"] if kind.SOURCE else [])]
    )
