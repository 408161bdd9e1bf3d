"""What `harness help` prints.

All verbs with a line each, or one with its words, defaults and exit codes. Pure.
"""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Iterable, Mapping, Sequence

from harness.command.fields import Word
from harness.command.verb import Verb

WIDTH = 110  # letters


def overview(verbs: Mapping[str, type[Verb]]) -> str:
    """Return a line for each verb."""
    width = max(map(len, verbs)) + 2
    lines = ["usage: harness VERB [key=value ...]", ""]
    lines += [f"  {name:<{width}}{verbs[name].summary()}" for name in sorted(verbs)]
    lines += [
        "",
        "harness help VERB says which words a verb takes. Lists are written methods=[nas,shortgpt]; a method's own fields",
        "'methods=[\"wanda(sparsity=0.5)\"]'. harness --version tells the version, harness completion the shell's script.",
    ]
    return "\n".join(lines)


def page(verb: type[Verb]) -> str:
    """Return the help of one verb."""
    words = [*verb.own_words(), *verb.run_keys()]
    lines = [usage(verb), "", *body(verb).splitlines(), "", *entries(words)]
    lines += ["", f"exit codes: {exits(verb)}"]
    return "\n".join(lines)


def exits(verb: type[Verb]) -> str:
    """Return the verb's exit codes with their meanings, in order."""
    return ", ".join(f"{code} {meaning}" for code, meaning in sorted(verb.EXITS.items()))


def entries(words: Sequence[Word]) -> list[str]:
    """Return the lines that say what each word means, how its value is written and its default."""
    width = max((len(word.name) for word in words), default=0) + 5
    return [line for word in words for line in _entry(word, width)]


def usage(verb: type[Verb]) -> str:
    """Return how the verb is written."""
    needed = [f"{word.name}=..." for word in verb.own_words() if word.default is None]
    keys = ["[key=value ...]"] if verb.own_words() or verb.run_keys() else []
    return " ".join(["usage: harness", verb.NAME, *filter(None, [verb.NAMES]), *needed, *keys])


def body(verb: type[Verb]) -> str:
    """Return the verb's docstring, without its indentation."""
    return inspect.cleandoc(verb.__doc__ or "")


def _entry(word: Word, width: int) -> list[str]:
    default = "needed" if word.default is None else f"default {word.default}" if word.default else ""
    told = "; ".join(filter(None, [word.meaning, word.values, default]))
    first, *more = textwrap.wrap(told, WIDTH - width) or [""]
    return [f"  {word.name + '=':<{width - 2}}{first}", *(f"{'':<{width}}{line}" for line in more)]


def markdown(verbs: Iterable[type[Verb]]) -> str:
    """Return the reference page of verbs: usage, meaning, a table of words, exit codes."""
    parts = []
    for verb in verbs:
        lines = [f"## {verb.NAME}", "", f"`{usage(verb).removeprefix('usage: ')}`", "", body(verb), ""]
        if words := [*verb.own_words(), *verb.run_keys()]:
            lines += [words_table(words), ""]
        lines += [f"Exit codes: {exits(verb)}.", ""]
        parts.append("\n".join(lines))
    return "\n".join(parts)


def words_table(words: Sequence[Word], sign: str = "=") -> str:
    """Return a markdown table of words.

    How a value is written behind `name` and the sign, its default, its meaning.
    """
    lines = [f"| {'key' if sign == ':' else 'word'} | values | default | meaning |", "| :--- | :--- | :--- | :--- |"]
    return "\n".join([*lines, *(f"| {' | '.join(map(cell, _columns(word, sign)))} |" for word in words)])


def _columns(word: Word, sign: str) -> tuple[str, str, str, str]:
    default = "needed" if word.default is None else f"`{word.default}`" if word.default else "empty"
    return f"`{word.name}{sign}`", word.values, default, word.meaning


def cell(text: str) -> str:
    """Return text as a cell of a markdown table."""
    return text.replace("|", "\\|")
