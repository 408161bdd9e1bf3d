"""`harness gate`: a run against a kept baseline, with an exit code for CI."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.verbs.report import stored_run
from harness.verbs.terminal import console, show_table
from harness.verbs.words import number, one_of, options

if TYPE_CHECKING:
    from harness.store import Store

FORMATS = ("table", "markdown", "json")
LIMITS = {"level": "0.95", "drop": "0", "perplexity": "0.005", "speed": "0.1", "memory": "0.1", "flips": "inf"}
KNOWN = {
    "baseline": "",
    "store": "harness-store",
    "run": "",
    "baseline_run": "",
    "update": "false",
    "format": "table",
    **LIMITS,
}


def gate(words: list[str]) -> int:
    """Judge the newest run (or `run=`) by the baseline, or with update=true make it the baseline.

    Exit codes: 0 no regression, 1 a regression, or something of the baseline is missing, 2 wrong words, 3 nothing was measured.
    """
    asked = options(words, KNOWN)
    one_of(asked["format"], FORMATS, what="format")
    one_of(asked["update"], ("true", "false"), what="update")
    if not asked["baseline"]:
        raise ValueError("gate needs baseline=FOLDER: where a run was kept with update=true, or any store")
    numbers = {name: number(asked[name], key=name) for name in LIMITS}
    if not (numbers["level"] < 1 and numbers["level"] > 0 and all(value >= 0 for value in numbers.values())):
        raise ValueError("level must lie in (0, 1), and drop, perplexity, speed, memory and flips at 0 or above")
    from harness.store import Store
    from reports import gate_baseline

    store, place = Store(Path(asked["store"])), Path(asked["baseline"]).expanduser()
    run = stored_run(store, asked["run"], asked["store"])
    if asked["update"] == "true":
        size = gate_baseline.keep(run, store, place)
        print(f"baseline: run {run['id']} with {len(run['variants'])} variants kept in {place}, {size / 1e6:.1f} MB")
        return 0
    old, kept = gate_baseline.opened(place, asked["baseline_run"])
    return _judged(run, store, old, kept, numbers, asked["format"])


def _judged(
    run: dict[str, Any], store: Store, old: dict[str, Any], kept: Store, numbers: dict[str, float], form: str
) -> int:
    from reports import gate as judging
    from reports import gate_text
    from reports.gate_checks import Limits
    from reports.gate_measured import measured

    before, now, limits = measured(old, kept), measured(run, store), Limits(**numbers)
    checks = judging.judge(before, now, limits)
    code = judging.outcome(checks, anew=judging.measured_anew(before, now))
    notes = gate_text.differing(old, run)
    if extra := gate_text.unknown(before, now):
        notes.append(f"not in the baseline: {', '.join(extra)}")
    if form == "json":
        print(gate_text.json_text(checks, code, limits, notes), end="")
        return code
    title = f"run {run['id']} against baseline {old['id']}"
    show_table(gate_text.HEADS, gate_text.rows(checks), title=title, form=form, last=["verdict"])
    lead = "- " if form == "markdown" else ""
    terminal = console()
    for line in [*gate_text.sentences(checks), *(f"note: {note}" for note in notes)]:
        terminal.print(f"{lead}{line}", highlight=False, markup=False, soft_wrap=True)
    terminal.print(f"\n{gate_text.ending(checks, code)}", highlight=False, markup=False, soft_wrap=True)
    return code
