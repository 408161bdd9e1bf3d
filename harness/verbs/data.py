"""`harness data`: write a local mirror of a suite's data, check one, or look for text that asks what is reported."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from harness.verbs.words import listed, one_of, options

ACTIONS = ("export", "check", "overlap")


def data(words: list[str]) -> int:
    """Do `export`, `check` or `overlap`; 1 when `check` finds a gap or `overlap` a row."""
    if not words or "=" in words[0]:
        raise ValueError(f"harness data needs one of the words {', '.join(ACTIONS)} behind it")
    action = one_of(words[0], ACTIONS, what="harness data")
    known = {"suite": "", "data_dir": os.environ.get("HARNESS_DATA_DIR", ""), "tasks": ""}
    asked = options(words[1:], {**known, **({"to": ""} if action == "export" else {})})
    if not asked["suite"]:
        raise ValueError(f"harness data {action} needs suite=NAME")
    origin = Path(asked["data_dir"]).expanduser() if asked["data_dir"] else None
    if origin is not None and not origin.is_dir():
        raise ValueError(f"data_dir={asked['data_dir']}: no such folder")
    if action == "overlap":
        return _overlap(asked["suite"], origin)
    return _export(asked, origin) if action == "export" else _check(asked, origin)


def _export(asked: dict[str, str], origin: Path | None) -> int:
    from harness.data import export, suites

    if not asked["to"]:
        raise ValueError("harness data export needs to=FOLDER")
    wanted, outside = export.files(suites.read(asked["suite"]), listed(asked["tasks"]))
    for file, rows, done in export.export(wanted, Path(asked["to"]).expanduser(), origin):
        print(f"{file.path}: {done}" if rows is None else f"{file.path}: {rows:,} rows, {done}", flush=True)
    _tell(outside)
    return 0


def _check(asked: dict[str, str], folder: Path | None) -> int:
    from harness.data import export, suites

    wanted, outside = export.files(suites.read(asked["suite"]), listed(asked["tasks"]))
    if wanted and folder is None:
        raise ValueError("harness data check needs data_dir=FOLDER")
    gaps = 0
    for file in wanted:
        assert folder is not None
        rows = file.found(folder)
        expected = f" of {file.rows:,}" if file.rows else ""
        gap = not file.complete(folder) and (file.needed or rows is not None)
        absent = "missing" if file.needed else "absent, but not needed to report"
        state = absent if rows is None else "incomplete" if gap else "complete"
        print(f"{file.path}: {rows or 0:,}{expected} rows, {state}")
        gaps += gap
    _tell(outside)
    return 1 if gaps else 0


def _tell(outside: list[str]) -> None:
    for name in outside:
        print(f"{name}: {'shipped with the project' if name.startswith('demo_') else 'no mirror has a place for it'}")


def _overlap(name: str, folder: Path | None) -> int:
    from harness.data import overlap, suites, text

    suite = suites.read(name)
    report, search = suites.sources(suite, folder, [])
    with tempfile.TemporaryDirectory() as scratch:
        asked = overlap.asked(report, search, Path(scratch))
    count = 0
    for said in dict.fromkeys((suite.calibration, suite.training)):
        rows = text.rows(suites.text_source(said, folder))
        for use, questions in asked.items():
            for row, question in overlap.holding(rows, questions):
                print(f"{said}: row {overlap.row_hash(row)} holds what {use}: {question[:100]}")
                count += 1
    print(f"{count} rows hold a question of {overlap.LONG} words or more")
    return 1 if count else 0
