"""`harness compare`: variants of a stored run against the first named, item by item."""

from __future__ import annotations

from pathlib import Path

from harness.verbs.terminal import console
from harness.verbs.words import listed, names_and_options, number, one_of

FORMATS = ("table", "markdown", "json")
KNOWN = {
    "store": "harness-store",
    "run": "",
    "task": "",
    "metric": "",
    "flips": "5",
    "format": "table",
    "level": "0.95",
}


def compare(words: list[str]) -> int:
    """Print the comparison; differences are variant minus reference, and the reference is the first name."""
    names, asked = names_and_options(words, KNOWN)
    from harness.store import Store
    from reports import compare as comparing
    from reports.compare_json import json_report
    from reports.compare_sides import sides
    from reports.compare_text import markdown_report, rich_report

    one_of(asked["format"], FORMATS, what="format")
    examples = number(asked["flips"], key="flips")
    if examples < 0 or examples != int(examples):
        raise ValueError(f"flips must be a whole number of at least 0, not {asked['flips']}")
    found = sides(names, Store(Path(asked["store"])), asked["run"])
    level = number(asked["level"], key="level")
    report = comparing.compare(found, tasks=listed(asked["task"]), metric=asked["metric"], level=level)
    if asked["format"] == "table":
        console().print(rich_report(report, examples=int(examples)))
    else:
        text = json_report if asked["format"] == "json" else markdown_report
        print(text(report, examples=int(examples)), end="")
    return 0
