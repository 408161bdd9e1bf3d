"""`harness data`: write or check a local mirror of a suite's data, or look for reported items.

The last looks for text that asks what is reported.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import ClassVar

from pydantic import Field, model_validator

from harness.command.verb import DONE, EXITS, FAILED, Verb
from harness.command.words import Names
from harness.words.home import home


class OfData(Verb):
    """A verb about the data of a suite."""

    suite: str = Field(description="a suite, or a YAML file of your own")
    data_dir: str = Field("", description="local mirror of the data; HARNESS_DATA_DIR where empty")
    tasks: Names = Field((), description="tasks of the suite, a,b or [a,b]; all where empty")

    @model_validator(mode="after")
    def _a_suite_is_named(self) -> OfData:
        if not self.suite:
            raise ValueError(f"harness {self.NAME} needs suite=NAME")
        return self

    def mirror(self) -> Path | None:
        """Return the mirror's folder; None where none is named, ValueError where it is not there."""
        written = self.data_dir or os.environ.get("HARNESS_DATA_DIR", "")
        if written and not home(written).is_dir():
            raise ValueError(f"data_dir={written}: no such folder")
        return home(written) if written else None


class DataExport(OfData):
    """Write a suite's data into a folder, which data_dir= reads on a machine without network."""

    NAME: ClassVar[str] = "data export"
    to: str = Field(description="folder to write into")

    def __call__(self) -> int:
        from harness.data import export, suites

        origin = self.mirror()
        if not self.to:
            raise ValueError("harness data export needs to=FOLDER")
        wanted, outside = export.files(suites.read(self.suite), self.tasks)
        for file, rows, done in export.export(wanted, home(self.to), origin):
            print(f"{file.path}: {done}" if rows is None else f"{file.path}: {rows:,} rows, {done}", flush=True)
        _tell(outside)
        return DONE


class DataCheck(OfData):
    """Tell what a local mirror of a suite's data lacks."""

    NAME: ClassVar[str] = "data check"
    EXITS: ClassVar[dict[int, str]] = EXITS | {FAILED: "something that is needed is missing"}

    def __call__(self) -> int:
        from harness.data import export, suites

        folder = self.mirror()
        wanted, outside = export.files(suites.read(self.suite), self.tasks)
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
        return FAILED if gaps else DONE


class DataOverlap(OfData):
    """Look for text of calibration and training that asks what a suite reports."""

    NAME: ClassVar[str] = "data overlap"
    EXITS: ClassVar[dict[int, str]] = EXITS | {FAILED: "a row asks what is reported"}

    def __call__(self) -> int:
        import tempfile

        from harness.data import overlap, suites, text

        folder = self.mirror()
        suite = suites.read(self.suite)
        report, search = suites.sources(suite, folder, [])
        with tempfile.TemporaryDirectory() as scratch:
            asked = overlap.asked(report, search, Path(scratch))
        count = 0
        for said in dict.fromkeys((suite.calibration, suite.training)):
            rows = text.rows(suites.text_source(said, folder, suite.beside))
            for use, questions in asked.items():
                for row, question in overlap.holding(rows, questions):
                    print(f"{said}: row {overlap.row_hash(row)} holds what {use}: {question[:100]}")
                    count += 1
        print(f"{count} rows hold a question of {overlap.LONG} words or more")
        return FAILED if count else DONE


def _tell(outside: list[str]) -> None:
    for name in outside:
        print(f"{name}: {'shipped with the project' if name.startswith('demo_') else 'no mirror has a place for it'}")
