"""A user's own text: a UTF-8 file of paragraphs, or JSON lines.

A line has a `text`, or an `instruction` and its `output`.
"""

from __future__ import annotations

import re
import zlib
from pathlib import Path
from typing import Any

from harness.data.mirror import read_jsonl
from harness.spec import DataSource
from harness.storage.store import sha256_file
from harness.words.home import home
from harness.words.reasons import one_line

PROSE, LINES = (".txt", ".md"), (".jsonl", ".jsonl.gz")
ENDINGS = (*PROSE, *LINES)
NAME = "own_text"  # of every such source: where the file lies and what it is called is not in the key, its bytes are


def source(name: str, beside: Path | None = None) -> DataSource:
    """Return the text in a file; ValueError where it is not there or holds no text.

    Its content hash decides the key.
    """
    path = home(name) if beside is None else beside / home(name)
    if not path.is_file():
        raise ValueError(f"text {name}: no such file")
    count = len(rows(path))
    read_as = "paragraphs" if path.name.endswith(PROSE) else "lines"  # the same bytes are another text as the other
    return DataSource(name=NAME, folder=str(path.resolve()), content=f"{read_as} {sha256_file(path)}", rows=count)


def rows(path: Path) -> list[dict[str, Any]]:
    """Return the rows of the file: its paragraphs, or its JSON lines.

    ValueError says what is wrong with it.
    """
    try:
        content = _paragraphs(path) if path.name.endswith(PROSE) else list(read_jsonl(path))
    except (OSError, EOFError, zlib.error, ValueError) as error:  # of gzip, of JSON, of what is no UTF-8
        raise ValueError(f"text {path} cannot be read ({type(error).__name__}: {one_line(error)})") from None
    if not content:
        raise ValueError(f"text {path}: it holds no text")
    for number, row in enumerate(content, 1):
        if not (
            isinstance(row, dict) and (isinstance(row.get("text"), str) or {"instruction", "output"} <= row.keys())
        ):
            raise ValueError(f"text {path}: line {number} has neither text, nor instruction and output")
        if instructs([row]) != instructs(content):
            raise ValueError(
                f"text {path}: line {number} is not of the kind of line 1; all have text, or all have instruction and output"
            )
    return content


def instructs(rows: list[dict[str, Any]]) -> bool:
    """Tell whether rows are instructions with their outputs, by the first of them.

    A model may be trained on these.
    """
    return {"instruction", "output"} <= rows[0].keys()


def _paragraphs(path: Path) -> list[dict[str, Any]]:
    """Return what stands between blank lines."""
    parts = re.split(r"\n\s*\n", path.read_text(encoding="utf-8"))
    return [{"text": part.strip()} for part in parts if part.strip()]
