"""The reference pages of docs/, made of what the code says of itself.

`python -m harness.command.reference docs/reference`.
"""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from pydantic import BaseModel

from harness import registry
from harness.command import help as helping
from harness.command.all_verbs import verbs
from harness.command.fields import Word, words_of
from harness.command.kind_page import facts, method_words, written
from harness.command.run_words import run_words
from harness.data import suites
from harness.data.suites import Suite, SuiteTask
from harness.families.all_families import families
from harness.measures.all_measures import table
from harness.nas.searchers.all_searchers import searchers
from harness.outside.commands import Command
from harness.papers import Paper, PaperRow
from harness.quantities import MEANINGS, METRICS, Quantity
from harness.spec import Quantizer
from reports.run import row_keys

MADE = "<!-- made by python -m harness.command.reference docs/reference; a test says that it is current -->"


def pages() -> dict[str, str]:
    """Return every page by its file name."""
    made: dict[str, Callable[[], str]] = {
        "verbs.md": verb_page,
        "keys.md": key_page,
        "methods.md": method_pages,
        "quantizers.md": quantizer_pages,
        "searchers.md": searcher_pages,
        "columns.md": column_page,
        "suites.md": suite_page,
        "families.md": family_page,
        "files.md": file_page,
    }
    return {name: f"{MADE}\n\n{page().rstrip()}\n" for name, page in made.items()}


def verb_page() -> str:
    """Return all verbs with their words and exit codes."""
    intro = "Every verb ends with 1, too, where a place cannot be read or written, such as a disk that is full."
    return f"# Verbs\n\n{intro}\n\n{helping.markdown(kind for _, kind in sorted(verbs().items()))}"


def key_page() -> str:
    """Return the keys of a run."""
    intro = "What `harness run`, `plan` and, in part, `search` take, with the defaults of `profile=standard`; `suite=demo` alone means"
    return f"# Keys of a run\n\n{intro}\n`profile=quick`. Exit codes are with the verbs.\n\n{helping.words_table(run_words())}"


def method_pages() -> str:
    """Return every method with its fields."""
    parts = [
        "# Methods",
        "Written in `methods=[...]`, with fields as `'wanda(sparsity=0.5)'`, in sequence as `shortgpt+recover`.",
    ]
    for name, kind in sorted(registry.methods().items()):
        parts.append(
            _section(name, f"`methods=[{written(kind)}]`", kind, method_words(kind)) + f"\n\n{_sentence(facts(kind))}"
        )
    return "\n\n".join(parts)


def quantizer_pages() -> str:
    """Return every quantizer with its fields."""
    sections = [
        _section(name, _quantizer_usage(kind), kind, words_of(kind.model_fields))
        for name, kind in sorted(registry.quantizers().items())
    ]
    return "\n\n".join(
        ["# Quantizers", "Layered on every variant by `quantizers=[...]`; `none` leaves it as it is.", *sections]
    )


def _quantizer_usage(kind: type[Quantizer]) -> str:
    """Return how a quantizer is written, with a runtime in which it lives."""
    homes = ", ".join(f"`runtimes=[{name}]`" for name in sorted(kind.RUNTIMES))
    return f"`quantizers=[none,{kind.NAME}]` with {homes}"


def searcher_pages() -> str:
    """Return every searcher with its fields."""
    sections = [
        _section(name, f"`methods=['nas(searcher={name})']`", kind, words_of(kind.model_fields))
        for name, kind in sorted(searchers().items())
    ]
    intro = "Searchers of one-shot NAS; their fields are written `'nas(searcher=NAME, options={field: value})'`."
    return "\n\n".join(["# Searchers", intro, *sections])


def column_page() -> str:
    """Return every quantity that a row may hold, as tables, plots and gate read it."""
    intro = (
        "The keys of a row in `report.csv`, `report.json`, `report.parquet` and `Run.table()`.\n"
        "Numbers are stored in plain units (bytes, seconds, shares of 1); tables show them in the unit that is given here."
    )
    bounds = (
        "Bounds of a 95 % interval end in `_low` and `_high`. Speeds at another batch size N are\n"
        "`prefill_ratio_bN` and `decode_ratio_bN`."
    )
    parts = ["# Columns", intro, "## Which variant", _keys(row_keys.IDENTITY)]
    parts += ["## Measured", bounds, _quantities(table().values())]
    parts += ["## Scores", _keys(row_keys.TASKS), "METRIC is one of these, or one that a task's definition brings:"]
    metrics = [replace(each, meaning=MEANINGS[name]) for name, each in METRICS.items()]
    return "\n\n".join([*parts, _quantities(metrics), "## Beside the numbers", _keys(row_keys.BESIDE)])


def suite_page() -> str:
    """Return the shipped suites with their tasks."""
    parts = ["# Suites", "Named by `suite=NAME`; a YAML file of your own works as well."]
    for name in suites.known():
        suite = suites.read(name)
        rows = [
            (
                f"`{task.task}`",
                task.metric or "the definition's first",
                "the definition's" if task.shots is None else str(task.shots),
                f"{task.window or 2048} tokens" if task.metric == "token_perplexity" else "–",
                "left out without data" if task.optional else "yes",
            )
            for task in suite.tasks
        ]
        texts = f"Calibration text: {suite.calibration}. Training data: {suite.training}."
        searched = f" Searches score training items of {', '.join(suite.search)}." if suite.search else ""
        head = ("task", "metric", "shots", "windows", "needed")
        parts += [f"## {name}", suites.origins(name), texts + searched, _table(head, rows)]
    return "\n\n".join(parts)


def family_page() -> str:
    """Return the decoder families."""
    rows = []
    for name, family in sorted(families().items()):
        meaning = inspect.getdoc(importlib.import_module(f"harness.families.{name}")) or ""
        rows.append((f"`{name}`", meaning, ", ".join(f"`{each}`" for each in family.per_layer) or "–"))
    intro = "Decoders that methods take; the dense row takes any causal language model of transformers."
    return "\n\n".join(["# Families", intro, _table(("family", "what it is", "lists that follow the layers"), rows)])


def file_page() -> str:
    """Return the keys of every kind of YAML file that a user may write."""
    parts = ["# Files of your own", "YAML files, and the words that name them."]
    files: list[tuple[str, str, dict[str, type[BaseModel]]]] = [
        ("A suite", "suite=my-suite.yaml", {"": Suite, "Each of its `tasks`:": SuiteTask}),
        ("A published table", "paper=my-table.yaml", {"": Paper, "Each of its `rows`:": PaperRow}),
        ("A command", "methods=[external:my-method.yaml]", {"": Command}),
    ]
    for title, usage, kinds in files:
        parts += [f"## {title}", f"`{usage}`"]
        for lead, kind in kinds.items():
            keys = words_of({name: info for name, info in kind.model_fields.items() if info.description})
            parts += [*([lead] if lead else []), helping.words_table(keys, ":")]
    return "\n\n".join(parts)


def _section(name: str, usage: str, kind: type, words: Sequence[Word]) -> str:
    """Return the section of one class: its name, how it is written, its docstring, its fields."""
    parts = [f"## {name}", usage, inspect.cleandoc(kind.__doc__ or "")]
    return "\n\n".join([*parts, *([helping.words_table(words)] if words else [])])


def _quantities(quantities: Iterable[Quantity]) -> str:
    rows = [
        (
            f"`{each.key}`",
            each.label,
            each.unit or "–",
            each.better or "nobody said",
            each.gate or "–",
            "yes" if each.fronts else "–",
            each.meaning,
        )
        for each in quantities
    ]
    return _table(("key", "label", "unit", "better", "gate judges", "on fronts", "meaning"), rows)


def _keys(meanings: Mapping[str, str]) -> str:
    return _table(("key", "meaning"), [(f"`{key}`", meaning) for key, meaning in meanings.items()])


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, [":---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(helping.cell(each) for each in line)} |" for line in lines)


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + "."


def write(folder: Path) -> None:
    """Write every page into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in pages().items():
        (folder / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
